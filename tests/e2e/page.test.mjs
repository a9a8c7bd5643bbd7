// The page, in a real Chromium, against the real server: what a person does, and what that person then sees.

import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import http from "node:http";
import path from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

import { Hub, Line } from "./hub.mjs";

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const SHOTS = path.join(ROOT, "target/e2e");
const BINARY = path.resolve(process.env.SWITCHBOARD_BIN ?? path.join(ROOT, "target/debug/switchboard"));
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";

const words = (count) => Array.from({ length: count }, (_, i) => `word${i + 1}`).join(" ");

let hub, line, browser, context, first, second, lossy, website, base;
const fetched = [];
const complaints = [];

before(async () => {
  await mkdir(SHOTS, { recursive: true });
  website = http.createServer((request, response) => {
    fetched.push(request.url);
    response.setHeader("content-type", "text/html");
    response.end("<h1>a page of the test</h1>");
  });
  website.listen(0, "127.0.0.1");
  await once(website, "listening");
  hub = new Hub(BINARY, {
    SWITCHBOARD_PROVIDERS__DEMO__WORD_INTERVAL_MS: "10",
    SWITCHBOARD_TOOLS__HTTP_FETCH__ALLOW_HOSTS: "127.0.0.1",
    SWITCHBOARD_TOOLS__HTTP_FETCH__ALLOW_PRIVATE: `127.0.0.1:${website.address().port}`,
  });
  await hub.start();
  line = new Line(hub.port);
  await line.open();
  base = `http://127.0.0.1:${line.port}`;
  const args = process.getuid() === 0 ? ["--no-sandbox"] : [];
  browser = await chromium.launch({ executablePath: CHROMIUM, args });
  context = await browser.newContext({ viewport: { width: 1180, height: 760 } });
  context.setDefaultTimeout(20_000);
  context.on("request", (request) => {
    if (!request.url().startsWith(base)) complaints.push(`a request elsewhere: ${request.url()}`);
  });
  context.on("weberror", (error) => complaints.push(String(error.error())));
  context.on("console", (message) => {
    if (message.text().includes("Content Security Policy")) complaints.push(message.text());
    if (message.text().startsWith("gap on") && message.page() !== lossy) complaints.push(message.text());
  });
  first = await context.newPage();
});

after(async () => {
  await browser?.close();
  await line?.end();
  await hub?.end();
  website?.close();
});

let broken = false;

/** The steps build on each other: after one that failed the others would only wait in vain. */
function step(name, act) {
  test(name, async (t) => {
    if (broken) return t.skip("an earlier step failed");
    try {
      await act();
    } catch (error) {
      broken = true;
      if (first) await shot(first, "failed-first-tab").catch(() => {});
      if (second) await shot(second, "failed-second-tab").catch(() => {});
      throw error;
    }
  });
}

const shot = (page, name) => page.screenshot({ path: path.join(SHOTS, `${name}.png`) });
const badge = (page, ...states) => page.waitForSelector(states.map((s) => `#badge[data-state="${s}"]`).join(", "));
const lastAnswer = (page) => page.locator('article[data-role="assistant"]').last();
const textOf = (article) => article.locator(".parts > .text").evaluateAll((all) => all.map((n) => n.textContent).join(""));

/** Sends, and gives the article of the answer, which is the `n`th of the thread. */
async function send(page, text) {
  const n = await page.locator('article[data-role="assistant"]').count();
  await page.fill("#text", text);
  await page.press("#text", "Enter");
  return page.locator('article[data-role="assistant"]').nth(n);
}

const settled = (article, state) => article.and(article.page().locator(`[data-state="${state}"]`)).waitFor();

async function newConversation(page) {
  await page.click("#new");
  await page.waitForSelector("#foot:not([hidden])");
  await page.waitForFunction(() => document.querySelectorAll("article").length === 0);
}

step("who is not signed in is told how to", async () => {
  await first.goto(base);
  await first.waitForSelector("#signed-out:not([hidden])");
  assert.equal(await first.locator("#console").isVisible(), false);
  await shot(first, "signed-out");
});

step("the printed link, pasted whole, signs in", async () => {
  await first.fill("#sign-in input", hub.link.href);
  await Promise.all([first.waitForURL(`${base}/`), first.click("#sign-in button")]);
  await first.waitForSelector("#console:not([hidden])");
  await badge(first, "live");
  assert.match(await first.textContent("#who"), /owner/);
  await first.waitForSelector("#welcome:not([hidden])");
});

step("a used link signs nobody in", async () => {
  const stranger = await browser.newContext();
  const answer = await stranger.request.post(`${base}/sign-in`, {
    data: { code: hub.link.searchParams.get("code") },
    maxRedirects: 0,
  });
  assert.equal(answer.status(), 401);
  await stranger.close();
});

step("an answer comes word by word", async () => {
  await newConversation(first);
  await first.evaluate(() => {
    window.lengths = new Set();
    new MutationObserver(() => {
      const text = document.querySelector('article[data-role="assistant"] .text')?.textContent ?? "";
      window.lengths.add(text.length);
    }).observe(document.getElementById("messages"), { childList: true, subtree: true, characterData: true });
  });
  const answer = await send(first, "hello there, please think");
  await settled(answer, "complete");
  assert.ok((await first.evaluate(() => window.lengths.size)) > 5, "the text was seen in many lengths");
  assert.match(await textOf(answer), /You said: “hello there, please think”/);
  const thinking = answer.locator("details.thinking");
  assert.equal(await thinking.evaluate((node) => node.open), false, "thinking is folded away");
  await thinking.locator("summary").click();
  assert.match(await thinking.locator(".text").innerText(), /First I look/);
  await shot(first, "answer");
});

step("a second tab shows the same while it grows", async () => {
  second = await context.newPage();
  await second.goto(first.url());
  await second.waitForSelector('article[data-role="assistant"][data-state="complete"]');
  const [one, two] = [await send(first, "long 150"), second.locator('article[data-role="assistant"]').nth(1)];
  await two.and(second.locator('[data-state="streaming"]')).getByText("word10").waitFor();
  await shot(second, "second-tab");
  await Promise.all([settled(one, "complete"), settled(two, "complete")]);
  assert.equal(await textOf(one), words(150));
  assert.equal(await textOf(two), words(150));
});

step("a title changed in one tab changes in the other", async () => {
  await first.fill("#title", "Two tabs");
  await first.press("#title", "Enter");
  await second.waitForFunction(() => document.getElementById("title").value === "Two tabs");
  await second.locator("#conversations a[aria-current]", { hasText: "Two tabs" }).waitFor();
});

step("stop stops, by button and by Esc, and keeps what was said", async () => {
  for (const stop of [() => second.click("#stop"), () => first.keyboard.press("Escape")]) {
    const answer = await send(first, "long 5000");
    await answer.getByText("word5").waitFor();
    await second.waitForSelector("#stop:not([hidden])");
    await stop();
    await settled(answer, "stopped");
    const kept = await textOf(answer);
    assert.ok(kept.startsWith("word1 word2"), kept);
    // A later turn runs to its end: had anything of the stopped one been on its way, it would be here by now.
    await settled(await send(first, "hello"), "complete");
    assert.equal(await textOf(answer), kept);
    assert.equal(await textOf(second.locator(`article[data-id="${await answer.getAttribute("data-id")}"]`)), kept);
  }
  await shot(first, "stopped");
});

step("a message sent while a turn runs waits, and can be taken back", async () => {
  const running = await send(first, "long 300");
  await running.getByText("word3").waitFor();
  for (const text of ["this one waits", "this one is taken back"]) {
    await first.fill("#text", text);
    await first.press("#text", "Enter");
    await first.waitForFunction((t) => [...document.querySelectorAll("#queue input")].some((i) => i.value === t), text);
  }
  await second.waitForFunction(() => document.querySelectorAll("#queue li").length === 2);
  await shot(first, "queue");
  await second.locator("#queue li").nth(1).getByRole("button", { name: "remove" }).click();
  await first.waitForFunction(() => document.querySelectorAll("#queue li").length === 1);
  await settled(running, "complete");
  await first.locator('article[data-state="complete"]', { hasText: "You said: “this one waits”" }).waitFor();
  assert.equal(await first.getByText("You said: “this one is taken back”").count(), 0);
});

step("a tool that needs no approval runs", async () => {
  const answer = await send(first, "what time is it");
  await answer.locator('.tool[data-state="succeeded"]').waitFor();
  await settled(answer, "complete");
  assert.equal(await answer.locator(".tool-name").textContent(), "time");
});

step("an approval is asked in both tabs, and the answer of one counts for both", async () => {
  const address = `http://127.0.0.1:${website.address().port}/yes`;
  const answer = await send(first, `fetch ${address}`);
  const card = answer.locator(".tool");
  await card.locator(".approve").waitFor();
  await second.locator(".tool .approve").last().waitFor();
  assert.deepEqual(JSON.parse(await card.locator(".tool-input").textContent()), { url: address });
  assert.match(await card.locator(".countdown").textContent(), /^\d+ s left$/);
  assert.deepEqual(fetched, [], "nothing is fetched before the answer");
  await shot(first, "approval");
  await second.getByLabel("reason").fill("our own page");
  await second.locator(".tool .approve").last().click();
  await settled(answer, "complete");
  assert.deepEqual(fetched, ["/yes"]);
  assert.match(await card.locator(".decision").textContent(), /^Approved by .*owner.*: our own page$/);
  assert.match(await card.locator(".tool-result").textContent(), /a page of the test/);
  assert.equal(await first.locator(".question:visible").count(), 0);
});

step("a denial is told with its reason, and nothing happens", async () => {
  const answer = await send(first, `fetch http://127.0.0.1:${website.address().port}/no`);
  const card = answer.locator(".tool");
  await card.locator(".deny").waitFor();
  await card.getByLabel("reason").fill("not today");
  await card.locator(".deny").click();
  await settled(answer, "complete");
  assert.equal(await card.getAttribute("data-state"), "denied");
  assert.match(await card.locator(".decision").textContent(), /^Denied by .*owner.*: not today$/);
  await second.locator('.tool[data-state="denied"] .decision', { hasText: "not today" }).waitFor();
  assert.deepEqual(fetched, ["/yes"]);
});

step("an approval that waits elsewhere is told, and found again after a reload", async () => {
  await send(first, `fetch http://127.0.0.1:${website.address().port}/later`);
  await first.locator(".tool .approve").last().waitFor();
  const url = second.url();
  await newConversation(second);
  await second.locator("#elsewhere a", { hasText: "Two tabs" }).waitFor();
  await second.locator("#conversations a", { hasText: "Two tabs" }).locator(".mark").waitFor();
  await shot(second, "elsewhere");
  await first.reload();
  await first.locator(".tool .deny:visible").waitFor();
  await second.locator("#elsewhere a").click();
  await second.waitForURL(url);
  await second.locator(".tool .deny:visible").click();
  await first.waitForFunction(() => document.querySelectorAll(".question:not([hidden])").length === 0);
  await second.waitForFunction(() => document.getElementById("elsewhere").hidden);
  await settled(lastAnswer(first), "complete");
});

step("a cut line is mended without loss", async () => {
  const answer = await send(first, "long 400");
  await answer.getByText("word20").waitFor();
  line.cut();
  await Promise.all([badge(first, "waiting", "connecting"), badge(second, "waiting", "connecting")]);
  await shot(first, "cut");
  line.mend();
  await badge(first, "recovered");
  const news = await first.textContent("#badge");
  assert.match(news, /^missed \d+, recovered$/);
  await shot(first, "recovered");
  await settled(answer, "complete");
  await settled(lastAnswer(second), "complete");
  assert.equal(await textOf(answer), words(400));
  assert.equal(await textOf(lastAnswer(second)), words(400));
});

step("an event that gets lost is missed at once, and asked for again", async () => {
  lossy = await context.newPage();
  let [losing, asked] = [false, []];
  await lossy.routeWebSocket("**/ws", (socket) => {
    const server = socket.connectToServer();
    socket.onMessage((text) => {
      if (JSON.parse(text).type === "subscribe") asked.push(JSON.parse(text));
      server.send(text);
    });
    server.onMessage((text) => {
      if (losing && JSON.parse(text).event === "part.updated") losing = false;
      else socket.send(text);
    });
  });
  await lossy.goto(first.url());
  await lossy.waitForSelector("#foot:not([hidden])");
  const gap = lossy.waitForEvent("console", (message) => message.text().startsWith("gap on session:"));
  const answer = await send(lossy, "long 200");
  await answer.getByText("word20").waitFor();
  [losing, asked] = [true, []];
  await gap;
  await settled(answer, "complete");
  assert.equal(await textOf(answer), words(200));
  await badge(lossy, "recovered");
  assert.equal(asked.length, 1, "it asked once");
  const [name] = asked[0].channels;
  assert.ok(asked[0].since[name].seq > 0, "it asked for what came after the last event it had");
  await lossy.close();
});

step("after a kill both tabs converge to what is stored", async () => {
  const answer = await send(first, "long 3000");
  await answer.getByText("word200").waitFor();
  await hub.kill();
  await Promise.all([badge(first, "waiting", "connecting"), badge(second, "waiting", "connecting")]);
  const shown = await textOf(answer);
  await hub.start();
  await Promise.all([badge(first, "resynced"), badge(second, "resynced")]);
  await shot(first, "restarted");
  await Promise.all([settled(lastAnswer(first), "interrupted"), settled(lastAnswer(second), "interrupted")]);
  const stored = await textOf(lastAnswer(first));
  assert.equal(await textOf(lastAnswer(second)), stored);
  assert.ok(words(3000).startsWith(stored) && stored.length > 0, "what is stored is a beginning of what was said");
  assert.ok(shown.startsWith(stored) || stored.startsWith(shown), "it is the same text");
  await settled(await send(first, "are you well"), "complete");
});

step("the thread stays where the reader went, until it is sent back down", async () => {
  const answer = await send(first, "long 1500");
  await answer.getByText("word400").waitFor();
  await first.locator("#thread").evaluate((node) => node.scrollTo(0, 0));
  await first.waitForSelector("#bottom:not([hidden])");
  await answer.getByText("word600").waitFor();
  assert.equal(await first.locator("#thread").evaluate((node) => node.scrollTop), 0);
  await first.click("#bottom");
  await answer.getByText("word800").waitFor();
  const gap = await first.locator("#thread").evaluate((n) => n.scrollHeight - n.scrollTop - n.clientHeight);
  assert.ok(gap < 48, `${gap} pixels from the bottom`);
  await first.click("#stop");
  await settled(answer, "stopped");
});

step("a phone shows all of it, in the dark", async () => {
  const phone = await context.newPage();
  await phone.setViewportSize({ width: 380, height: 720 });
  await phone.emulateMedia({ colorScheme: "dark" });
  await phone.goto(first.url());
  await phone.waitForSelector("article");
  const wide = await phone.evaluate(() => document.documentElement.scrollWidth);
  assert.equal(wide, 380, "nothing sticks out");
  await shot(phone, "phone");
  await phone.click("#menu");
  await phone.locator("#conversations a", { hasText: "Two tabs" }).click();
  await phone.waitForFunction(() => !document.body.classList.contains("menu"));
  await phone.close();
});

step("signing out ends it", async () => {
  await first.click("#sign-out");
  await first.waitForSelector("#signed-out:not([hidden])");
  const answer = await context.request.get(`${base}/api/v1/session`);
  assert.equal(answer.status(), 401);
});

step("the page asked nobody else, broke no policy and lost no event", () => {
  assert.deepEqual(complaints, []);
});
