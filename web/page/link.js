// The connection to the hub: one WebSocket, requests, subscriptions that resume where they stopped, reconnecting.

const BACKOFF = { min: 500, max: 10_000 };
const QUIET_MS = 20_000; // after so long without a frame, ask whether anybody is there
const DEAD_MS = 10_000; // and this is how long an answer may take

/** What a request failed with. `code` is one of the hub's, or `disconnected`. */
export class HubError extends Error {
  constructor({ code, message, details }) {
    super(message);
    this.code = code;
    this.details = details;
  }
}

/**
 * States: `connecting`, `live`, `waiting` (until `retryAt`), `closed`.
 * Calls `on.state(link)` on every change, `on.refused()` when the credential may be the reason,
 * `on.recovered({missed, resynced, repaired})` when all is well again, `on.gap(channel)` when events were lost on the way.
 */
export class Link {
  constructor(url, on) {
    this.url = url;
    this.on = on;
    this.state = "connecting";
    this.retryAt = 0;
    this.attempts = 0;
    this.channels = new Map();
    this.waiting = new Map(); // by id: requests without an answer
    this.nextId = 1;
    this.skew = 0; // our clock minus the hub's, in ms
    this.wasLive = false;
    addEventListener("online", () => this.retryNow());
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.retryNow());
    setInterval(() => this.watchdog(), 5_000);
  }

  connect() {
    clearTimeout(this.timer);
    this.become("connecting");
    const socket = new WebSocket(this.url);
    this.socket = socket;
    let opened = false;
    socket.onopen = () => {
      opened = true;
      this.attempts = 0;
      this.heard();
      this.begin();
    };
    socket.onmessage = ({ data }) => {
      if (socket !== this.socket) return;
      this.heard();
      this.receive(JSON.parse(data));
    };
    socket.onclose = ({ code }) => {
      if (socket === this.socket) this.lost(code, opened);
    };
  }

  /** For good: nothing is tried again. */
  close() {
    clearTimeout(this.timer);
    const socket = this.socket;
    this.socket = null;
    socket?.close();
    this.become("closed");
  }

  retryNow() {
    if (this.state === "waiting") this.connect();
  }

  /**
   * Asks for a method. Without a connection it fails with `disconnected`, but for params with an `idempotencyKey`: those
   * wait and are sent again after a reconnect, because the hub does them only once.
   */
  request(method, params = {}) {
    return new Promise((resolve, reject) => {
      const id = String(this.nextId++);
      const frame = { type: "request", id, method, params };
      const again = "idempotencyKey" in params;
      if (!this.send(frame) && !again) {
        reject(new HubError({ code: "disconnected", message: "not connected" }));
        return;
      }
      this.waiting.set(id, { frame, again, resolve, reject });
    });
  }

  /** Watches a channel. `handler`: `snapshot(data)`, `event(name, data)`, `ended(code, message)`. */
  subscribe(name, handler) {
    this.channels.set(name, { handler, position: null, synced: false });
    this.ask([name]);
  }

  unsubscribe(name) {
    if (this.channels.delete(name)) this.send({ type: "unsubscribe", channels: [name] });
  }

  // ---- below: the wire

  send(frame) {
    if (this.socket?.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(frame));
    return true;
  }

  /** A new connection: subscribe to all we had, then send again what may be sent twice. */
  begin() {
    const again = this.wasLive;
    this.wasLive = true;
    this.missed = 0;
    this.resynced = false;
    this.become("live");
    const names = [...this.channels.keys()];
    if (names.length > 0) this.ask(names, again);
    for (const { frame, again: repeat } of this.waiting.values()) if (repeat) this.send(frame);
  }

  /** With `id` the hub answers each channel with `subscribed`, and ends with a response. */
  ask(names, counting = false) {
    const since = {};
    for (const name of names) {
      const channel = this.channels.get(name);
      channel.synced = false;
      if (channel.position) since[name] = channel.position;
    }
    const id = `s${this.nextId++}`;
    if (!this.send({ type: "subscribe", id, channels: names, since })) return;
    if (!counting) return;
    this.counting = id;
    const told = () => this.on.recovered({ missed: this.missed, resynced: this.resynced });
    this.waiting.set(id, { frame: null, again: false, resolve: told, reject: () => {} });
  }

  receive(frame) {
    switch (frame.type) {
      case "response": return this.answered(frame);
      case "event": return this.event(frame);
      case "subscribed": return this.subscribed(frame);
      case "unsubscribed": return this.ended(frame.channel, frame.code, frame.message);
      case "error": return frame.channel ? this.ended(frame.channel, frame.code, frame.message) : console.warn("hub:", frame.message);
    }
  }

  answered({ id, result, error }) {
    const asked = this.waiting.get(id);
    this.waiting.delete(id);
    if (id === this.counting) this.counting = null;
    if (error) asked?.reject(new HubError(error));
    else asked?.resolve(result);
  }

  subscribed({ channel: name, epoch, seq, recovered, snapshot }) {
    const channel = this.channels.get(name);
    if (!channel) return;
    // Recovered: the missed events follow, from where we stopped. Otherwise the snapshot is all there is.
    const again = channel.position !== null;
    if (!recovered || !again) {
      channel.position = { epoch, seq };
      channel.handler.snapshot(snapshot ?? null);
      if (again && this.counting) this.resynced = true; // told when all channels are back
      else if (again) this.on.recovered({ resynced: true });
    } else if (channel.broken) {
      this.on.recovered({ repaired: true });
    }
    channel.synced = true;
    channel.broken = false;
  }

  event({ channel: name, epoch, seq, fromSeq = seq, event, data, ts }) {
    const channel = this.channels.get(name);
    if (!channel?.synced) return; // late ones of an earlier subscription
    const { position } = channel;
    if (epoch !== position.epoch || fromSeq !== position.seq + 1) {
      console.error(`gap on ${name}: had ${position.epoch}/${position.seq}, got ${epoch}/${fromSeq}..${seq}`);
      channel.broken = true;
      this.on.gap(name);
      this.ask([name]);
      return;
    }
    position.seq = seq;
    if (this.counting) this.missed += seq - fromSeq + 1;
    else this.skew = Date.now() - ts;
    channel.handler.event(event, data);
  }

  ended(name, code, message) {
    const channel = this.channels.get(name);
    if (!channel) return;
    this.channels.delete(name);
    channel.handler.ended(code, message);
  }

  lost(code, opened) {
    this.socket = null;
    this.counting = null;
    for (const [id, asked] of this.waiting) {
      if (asked.again) continue;
      this.waiting.delete(id);
      asked.reject(new HubError({ code: "disconnected", message: "the connection was lost" }));
    }
    for (const channel of this.channels.values()) channel.synced = false;
    if (!opened || code === 4401 || code === 4403) this.on.refused();
    if (this.state === "closed") return;
    // Full jitter, so that many pages do not come back in step; 1013 and 1012 are answered like any loss.
    const span = Math.min(BACKOFF.max, BACKOFF.min * 2 ** this.attempts++);
    const wait = BACKOFF.min / 2 + Math.random() * span;
    this.retryAt = Date.now() + wait;
    this.timer = setTimeout(() => this.connect(), wait);
    this.become("waiting");
  }

  heard() {
    this.lastHeard = Date.now();
    this.asked = 0;
  }

  /** A link that died in silence: browsers do not show WebSocket pings, so the page sends its own. */
  watchdog() {
    if (this.state !== "live") return;
    if (this.asked && Date.now() - this.asked > DEAD_MS) {
      const socket = this.socket;
      this.lost(1006, true);
      socket?.close();
    } else if (!this.asked && Date.now() - this.lastHeard > QUIET_MS && this.send({ type: "ping" })) {
      this.asked = Date.now();
    }
  }

  become(state) {
    this.state = state;
    this.on.state(this);
  }
}
