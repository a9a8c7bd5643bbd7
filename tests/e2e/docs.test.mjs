// The page at /api/docs, in a real Chromium with no network but the hub: it shows every operation, and asks nobody else.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

import { Hub } from "./hub.mjs";

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const SHOTS = path.join(ROOT, "target/e2e");
const BINARY = path.resolve(process.env.SWITCHBOARD_BIN ?? path.join(ROOT, "target/debug/switchboard"));
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const METHODS = ["get", "head", "post", "put", "patch", "delete"];

let hub, browser;

before(async () => {
  await mkdir(SHOTS, { recursive: true });
  hub = new Hub(BINARY, {});
  await hub.start();
  // Whatever name is asked for is not found: only the address of the hub leads anywhere.
  const args = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--disable-background-networking"];
  if (process.getuid() === 0) args.push("--no-sandbox");
  browser = await chromium.launch({ executablePath: CHROMIUM, args });
});

after(async () => {
  await browser?.close();
  await hub?.end();
});

test("the page shows every operation and asks nobody but the hub", async () => {
  const base = `http://127.0.0.1:${hub.port}`;
  const context = await browser.newContext({ viewport: { width: 1180, height: 900 } });
  context.setDefaultTimeout(30_000);
  const complaints = [];
  let requests = 0;
  context.on("request", (request) => {
    requests += 1;
    const { protocol, origin } = new URL(request.url());
    if (protocol !== "data:" && origin !== base) complaints.push(`a request elsewhere: ${request.url()}`);
  });
  context.on("requestfailed", (request) => complaints.push(`failed: ${request.url()}`));
  context.on("response", (answer) => {
    if (answer.status() >= 400) complaints.push(`${answer.status()}: ${answer.url()}`);
  });
  context.on("weberror", (error) => complaints.push(String(error.error())));
  context.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(`${message.type()}: ${message.text()}`);
  });

  const page = await context.newPage();
  // Without the slash, as a person types it.
  await page.goto(`${base}/api/docs`);
  await page.waitForSelector(".swagger-ui .info .title");
  const document = await (await fetch(`${base}/api/openapi.json`)).json();
  const operations = Object.values(document.paths).flatMap((path) => Object.keys(path).filter((name) => METHODS.includes(name)));
  assert.ok(operations.length > 50, `${operations.length} operations are described`);
  await page.waitForFunction((count) => document.querySelectorAll(".opblock").length === count, operations.length);
  await page.screenshot({ path: path.join(SHOTS, "api-docs.png") });

  // One operation opened, with its parameters, its body and its answers.
  const block = page.locator(".opblock", { has: page.locator('[data-path="/config"]') }).filter({ hasText: "PATCH" });
  await block.locator(".opblock-summary-control").click();
  await block.locator(".responses-wrapper").waitFor();
  await block.scrollIntoViewIfNeeded();
  await page.screenshot({ path: path.join(SHOTS, "api-docs-operation.png") });
  assert.match(await block.innerText(), /merge patch/i);
  assert.equal(await page.locator(".errors-wrapper").count(), 0, "the page finds fault with the document");

  // Asked from the page, the hub answers it: the page may speak with the hub itself.
  const health = page.locator(".opblock", { has: page.locator('[data-path="/health"]') }).filter({ hasText: "GET" }).first();
  await health.locator(".opblock-summary-control").click();
  await health.locator(".try-out__btn").click();
  await health.locator(".execute").click();
  await health.locator(".live-responses-table .response .highlight-code").first().waitFor();
  assert.match(await health.locator(".live-responses-table").innerText(), /"status": "ok"/);

  assert.ok(requests > 3, "nothing was loaded");
  assert.deepEqual(complaints, []);
});
