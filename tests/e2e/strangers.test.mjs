// What a page of somebody else can do in a visitor's browser, and what becomes of names that are programs: in a real
// Chromium, against the real server.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import http from "node:http";
import path from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

import { Hub } from "./hub.mjs";

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const BINARY = path.resolve(process.env.SWITCHBOARD_BIN ?? path.join(ROOT, "target/debug/switchboard"));
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";

let hub, browser, context, base, elsewhere;
const complaints = [];

/** A web server of somebody else: the same machine, another port. */
async function stranger() {
  const server = http.createServer((_, response) => {
    response.setHeader("content-type", "text/html");
    response.end("<!doctype html><title>somebody else</title>");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

const tokenOf = (user) => {
  const args = ["token", "--user", user, "--role", "owner", "--data", hub.data];
  const { status, stdout, stderr } = spawnSync(BINARY, args, { encoding: "utf8" });
  assert.equal(status, 0, stderr);
  return stdout.trim();
};

/** A browser's window of its own, signed in with a token on the hub's page. */
async function signedIn(user) {
  const window = await browser.newContext();
  window.setDefaultTimeout(20_000);
  const page = await window.newPage();
  await page.goto(`${base}/sign-in`);
  await page.fill("input[name=token]", tokenOf(user));
  await Promise.all([page.waitForURL(`${base}/`), page.getByRole("button", { name: "with the token" }).click()]);
  await page.waitForSelector("#console:not([hidden])");
  return [window, page];
}

before(async () => {
  hub = new Hub(BINARY, { SWITCHBOARD_PROVIDERS__DEMO__WORD_INTERVAL_MS: "1" });
  await hub.start();
  base = `http://127.0.0.1:${hub.port}`;
  elsewhere = await stranger();
  const args = process.getuid() === 0 ? ["--no-sandbox"] : [];
  browser = await chromium.launch({ executablePath: CHROMIUM, args });
});

after(async () => {
  await browser?.close();
  await hub?.end();
  elsewhere?.close();
});

test("case 3: a page of another port has the cookie sent, and gets nothing for it", async () => {
  const [window, own] = await signedIn("owner");
  const count = () => own.evaluate(async () => (await (await fetch("/api/v1/sessions")).json()).items.length);
  const before = await count();
  const page = await window.newPage();
  const sent = [];
  page.on("request", async (request) => {
    if (request.url().startsWith(base)) sent.push([request.method(), (await request.allHeaders().catch(() => ({}))).cookie ?? ""]);
  });
  await page.goto(`http://127.0.0.1:${elsewhere.address().port}/`);
  const socket = (url) =>
    page.evaluate(
      (address) =>
        new Promise((resolve) => {
          const socket = new WebSocket(address);
          socket.onopen = () => resolve("open");
          socket.onerror = () => resolve("refused");
        }),
      url,
    );
  assert.equal(await socket(`ws://127.0.0.1:${hub.port}/ws`), "refused");
  assert.equal(await socket(`ws://127.0.0.1:${hub.port}/ws/client`), "refused");
  const ask = (address, init) =>
    page.evaluate(
      ([url, how]) =>
        fetch(url, { credentials: "include", ...how }).then(
          async (answer) => `${answer.type} ${answer.status} ${await answer.text()}`,
          () => "refused",
        ),
      [address, init],
    );
  const json = { "content-type": "application/json" };
  for (const [address, init] of [
    ["/api/v1/sessions", {}],
    ["/api/v1/session", {}],
    ["/sessions", { method: "POST", headers: json, body: '{"channel":"x"}' }],
    ["/api/v1/sessions", { method: "POST", headers: json, body: "{}" }],
    ["/api/v1/sessions", { method: "POST", body: "{}" }],
    ["/api/v1/sessions/x", { method: "DELETE" }],
    ["/api/v1/tickets", { method: "POST", headers: json, body: '{"route":"/ws"}' }],
    ["/sign-out", { method: "POST" }],
  ]) {
    assert.equal(await ask(base + address, init), "refused", `${address} ${JSON.stringify(init)}`);
    // Not read, but sent all the same: it must not do anything either.
    const blind = await ask(base + address, { ...init, headers: undefined, mode: "no-cors", method: init.method === "DELETE" ? "POST" : init.method });
    assert.equal(blind, "opaque 0 ", address);
  }
  // A form needs nobody's leave to be sent off; it takes the whole window to the refusal.
  for (const [action, fields] of [["/sign-out", {}], ["/sessions", { channel: "x" }], ["/sign-in", { token: tokenOf("mallory") }]]) {
    await page.goto(`http://127.0.0.1:${elsewhere.address().port}/`);
    const [answer] = await Promise.all([
      page.waitForResponse((response) => response.url() === base + action),
      page.evaluate(
        ([url, values]) => {
          const form = document.body.appendChild(Object.assign(document.createElement("form"), { method: "post", action: url }));
          for (const [name, value] of Object.entries(values)) form.append(Object.assign(document.createElement("input"), { name, value }));
          form.submit();
        },
        [base + action, fields],
      ),
    ]);
    assert.equal(answer.status(), 403, action);
    await page.waitForURL(base + action);
  }
  assert.ok(sent.some(([, cookie]) => cookie.includes("switchboard_session=")), `the browser sent the cookie: ${JSON.stringify(sent.map(([m, c]) => [m, c.length]))}`);
  // Nothing was made, and the visitor is still signed in, as who it was.
  assert.equal(await count(), before);
  assert.equal(await own.evaluate(async () => (await (await fetch("/api/v1/session")).json()).user), "owner");
  await window.close();
});

test("case 4: a name that was pointed at the hub shows nothing", async () => {
  // Newer browsers ask before a page may reach this machine; the hub does not count on it.
  const trusting = "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests";
  const rules = "--host-resolver-rules=MAP evil.example 127.0.0.1";
  const args = [...(process.getuid() === 0 ? ["--no-sandbox"] : []), rules, trusting];
  const rebound = await chromium.launch({ executablePath: CHROMIUM, args });
  try {
    const page = await rebound.newPage();
    const evil = `http://evil.example:${hub.port}`;
    for (const url of ["/", "/health", "/sign-in", "/api/v1/session"]) {
      assert.equal((await page.goto(evil + url)).status(), 421, url);
    }
    // The page came from its own server, before the name was pointed elsewhere.
    await page.route(`${evil}/begin`, (route) => route.fulfill({ contentType: "text/html", body: "<h1>evil</h1>" }));
    await page.goto(`${evil}/begin`);
    const read = await page.evaluate(async () => {
      const answers = await Promise.all(["/", "/metrics", "/api/v1/session"].map((url) => fetch(url)));
      return answers.map((answer) => answer.status);
    });
    assert.deepEqual(read, [421, 421, 421]);
    const socket = await page.evaluate(
      (token) =>
        new Promise((resolve) => {
          const socket = new WebSocket(`ws://${location.host}/ws?token=${token}`);
          socket.onopen = () => resolve("open");
          socket.onerror = () => resolve("refused");
        }),
      tokenOf("owner"),
    );
    assert.equal(socket, "refused");
  } finally {
    await rebound.close();
  }
});

/** Marks itself if it is ever read as anything but text. */
const EVIL = [
  `<img src=x onerror="window.owned=1">`,
  `<script>window.owned=2</script>`,
  `"><svg onload="window.owned=3">`,
  `<iframe srcdoc="<script>parent.owned=4</script>"></iframe>`,
  `<a href="javascript:window.owned=5">x</a>`,
  `{{constructor.constructor('window.owned=6')()}}`,
  `[x](javascript:window.owned=7) \`<b>\` **<i>x</i>**`,
  `</textarea></title><style>*{display:none}</style>`,
].join(" ");

test("case 77: what others wrote is shown as the text that it is", async () => {
  const user = `eve ${EVIL}`.replaceAll("/", "∕").slice(0, 190);
  context = await browser.newContext();
  context.setDefaultTimeout(20_000);
  const token = tokenOf(user);
  const page = await context.newPage();
  page.on("console", (message) => {
    if (message.text().includes("Content Security Policy")) complaints.push(message.text());
  });
  page.on("dialog", (dialog) => complaints.push(dialog.message()));
  context.on("request", (request) => {
    if (!request.url().startsWith(base)) complaints.push(`a request elsewhere: ${request.url()}`);
  });
  await page.goto(`${base}/sign-in`);
  await page.fill("input[name=token]", token);
  await Promise.all([page.waitForURL(`${base}/`), page.getByRole("button", { name: "with the token" }).click()]);
  await page.waitForSelector("#console:not([hidden])");
  // Who it is, a title, a project, messages both ways, a tool's question with its input and a reason for the answer.
  assert.ok((await page.textContent("#who")).startsWith(user));
  const ask = (method, url, body) =>
    fetch(base + url, {
      method,
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  assert.equal((await ask("POST", "/api/v1/projects", { name: EVIL.slice(0, 200) })).ok, true);
  const made = await (await ask("POST", "/api/v1/sessions", { title: EVIL, projectId: EVIL.slice(0, 200) })).json();
  assert.equal(made.title, EVIL);
  await page.goto(`${base}/#/c/${made.id}`);
  await page.waitForSelector("#foot:not([hidden])");
  await page.fill("#text", EVIL);
  await page.press("#text", "Enter");
  const answer = page.locator('article[data-role="assistant"]').first();
  await answer.and(page.locator('[data-state="complete"]')).waitFor();
  const shown = (locator) => locator.evaluate((node) => node.textContent);
  assert.ok((await shown(page.locator('article[data-role="user"]').first())).includes(EVIL));
  assert.ok((await shown(answer)).includes(EVIL.slice(0, 100)), `the agent said it back: ${await shown(answer)}`);
  assert.equal(await page.inputValue("#title"), EVIL);
  assert.equal(await shown(page.locator("#conversations a[aria-current] .name")), EVIL);
  const sent = await ask("POST", `/api/v1/sessions/${made.id}/messages`, {
    content: `fetch http://example.org/${encodeURIComponent("<img src=x onerror=window.owned=8>")}?"'><img/src=x/onerror=window.owned=9>`,
  });
  assert.ok(sent.ok, await sent.text());
  await page.locator(".tool .deny").waitFor();
  assert.ok((await shown(page.locator(".tool-input"))).includes("onerror=window.owned=9"));
  await page.locator(".tool").getByLabel("reason").fill(EVIL.slice(0, 200));
  await page.locator(".tool .deny").click();
  await page.locator(".decision", { hasText: "onerror" }).waitFor();
  assert.ok((await shown(page.locator(".decision"))).includes(user), "who denied it, by name");
  // All of it once more, from the snapshot.
  await page.reload();
  await page.waitForSelector("#foot:not([hidden])");
  await page.locator('.tool[data-state="denied"]', { hasText: "denied by the user: <img" }).waitFor();
  const found = await page.evaluate(() => ({
    owned: window.owned,
    foreign: document.querySelectorAll("img:not([src=\"/page/icon.svg\"]), iframe, object, embed, [onerror], [onload], article svg, article script, article style").length,
    links: [...document.querySelectorAll("a")].filter((link) => link.protocol === "javascript:").length,
    scripts: [...document.querySelectorAll("script")].filter((script) => !script.src).length,
  }));
  assert.deepEqual(found, { owned: undefined, foreign: 0, links: 0, scripts: 0 });
});

test("case 77: what the hub answers is never taken for a page", async () => {
  const token = tokenOf("owner");
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  const code = await (await fetch(`${base}/pairing/codes`, { method: "POST", headers, body: JSON.stringify({ deviceName: EVIL.slice(0, 60) }) })).json();
  assert.ok(code.code, JSON.stringify(code));
  const paired = await fetch(`${base}/pairing/verify`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ code: code.code }) });
  assert.ok(paired.ok);
  const [window, page] = await signedIn("owner");
  page.on("dialog", (dialog) => complaints.push(dialog.message()));
  const path = encodeURIComponent(EVIL);
  // Names of devices and users, errors that repeat what was asked: opened as a person would, by their address.
  for (const url of ["/devices", "/api/v1/devices", "/api/v1/admin/users", "/api/v1/admin/devices", "/api/v1/admin/audit", `/nothing/${path}`, `/sessions/${path}`, `/api/v1/agents/${path}`, `/sign-in?code=${path}`, `/api/docs/${path}`]) {
    const answer = await page.goto(base + url);
    const kind = answer.headers()["content-type"];
    assert.equal(answer.headers()["x-content-type-options"], "nosniff", url);
    assert.match(answer.headers()["content-security-policy"], /default-src 'none'/, url);
    if (url.startsWith("/sign-in")) assert.match(kind, /^text\/html/);
    else assert.match(kind, /^application\/json/, url);
    const found = await page.evaluate(() => [window.owned, document.querySelectorAll("img, iframe, svg, [onerror]").length]);
    assert.deepEqual(found, [undefined, 0], url);
  }
  const names = await (await fetch(`${base}/devices`, { headers })).json();
  assert.ok(JSON.stringify(names).includes("window.owned"), "the name is there, as it was given");
  await window.close();
});

test("nothing ran, and nobody else was asked", () => {
  assert.deepEqual(complaints, []);
});
