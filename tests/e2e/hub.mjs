// Runs the real server for the browser tests, and stands between it and the browser to cut the line.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import readline from "node:readline";

const START_MS = 30_000;

/** Tests send as fast as they can, all from one address. */
const UNLIMITED = Object.fromEntries(
  ["FRAMES_PER_SECOND", "SOCKET_MESSAGES_PER_MINUTE", "REQUESTS_PER_MINUTE", "STRANGERS_PER_MINUTE", "SIGN_INS_PER_MINUTE"].map(
    (limit) => [`SWITCHBOARD_LIMITS__${limit}`, "0"],
  ),
);

export async function freePort() {
  const probe = net.createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address();
  probe.close();
  await once(probe, "close");
  return port;
}

/** The server in a data folder of its own, with the demo provider. */
export class Hub {
  constructor(binary, settings) {
    this.binary = binary;
    this.settings = settings;
    this.log = [];
  }

  async start() {
    this.data ??= await mkdtemp(path.join(os.tmpdir(), "switchboard-e2e-"));
    this.port ??= await freePort();
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(OPENAI|ANTHROPIC|SWITCHBOARD)_/.test(name)));
    const args = ["serve", "--data", this.data, "--listen", `127.0.0.1:${this.port}`];
    this.child = spawn(this.binary, args, { env: { ...env, ...UNLIMITED, ...this.settings }, stdio: ["ignore", "ignore", "pipe"] });
    this.gone = once(this.child, "exit");
    readline.createInterface({ input: this.child.stderr }).on("line", (line) => this.line(line));
    await this.answers();
  }

  line(line) {
    this.log.push(line);
    const link = /https?:\/\/[^\s"]+\/sign-in\?code=[^\s"]+/.exec(line);
    if (link) this.link = new URL(link[0]);
  }

  /** Until it says that it is ready. */
  async answers() {
    const until = Date.now() + START_MS;
    while (Date.now() < until && this.child.exitCode === null) {
      const answer = await fetch(`http://127.0.0.1:${this.port}/ready`).catch(() => null);
      if (answer?.ok) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error(`the server did not become ready:\n${this.log.join("\n")}`);
  }

  /** As a crash: nothing is told to it. */
  async kill() {
    this.child.kill("SIGKILL");
    await this.gone;
  }

  async end() {
    if (this.child && this.child.exitCode === null && this.child.signalCode === null) await this.kill();
    if (this.data) await rm(this.data, { recursive: true, force: true });
  }
}

/** A line to the hub that can be cut and mended. */
export class Line {
  constructor(target) {
    this.target = target;
    this.sockets = new Set();
    this.whole = true;
  }

  async open() {
    this.server = net.createServer((socket) => this.join(socket)).listen(0, "127.0.0.1");
    await once(this.server, "listening");
    this.port = this.server.address().port;
  }

  join(socket) {
    if (!this.whole) return socket.destroy();
    const onward = net.connect(this.target, "127.0.0.1");
    for (const [from, to] of [[socket, onward], [onward, socket]]) {
      this.sockets.add(from);
      from.on("error", () => from.destroy());
      from.on("close", () => {
        this.sockets.delete(from);
        to.destroy();
      });
      from.pipe(to);
    }
  }

  cut() {
    this.whole = false;
    for (const socket of this.sockets) socket.destroy();
  }

  mend() {
    this.whole = true;
  }

  async end() {
    this.cut();
    this.server?.close();
  }
}
