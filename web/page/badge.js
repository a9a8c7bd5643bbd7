// How the connection is, in a few words.

import { byId } from "./dom.js";

const NEWS_MS = 6_000; // how long "missed 12, recovered" stays

export class Badge {
  constructor() {
    this.node = byId("badge");
    this.news = null;
    setInterval(() => this.draw(), 500);
  }

  link(link) {
    this.link_ = link;
    this.node.onclick = () => link.retryNow();
    if (link.state !== "live") this.news = null;
    this.draw();
  }

  recovered({ missed = 0, resynced = false, repaired = false }) {
    let text = missed > 0 ? `missed ${missed}, recovered` : "back, nothing missed";
    if (resynced) text = "reloaded, up to date";
    else if (repaired) text = "lost events recovered";
    this.tell(text, resynced ? "resynced" : "recovered");
  }

  gap() {
    this.tell("events were lost, asking again", "gap");
  }

  tell(text, state) {
    this.news = { text, state, until: Date.now() + NEWS_MS };
    this.draw();
  }

  draw() {
    if (!this.link_) return;
    if (this.news && Date.now() > this.news.until) this.news = null;
    const { state, retryAt } = this.link_;
    if (state === "live" && this.news) return this.put(this.news.text, this.news.state);
    const seconds = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
    const words = { live: "live", connecting: "connecting", waiting: `reconnecting in ${seconds} s`, closed: "closed" };
    this.put(words[state], state);
  }

  put(text, state) {
    if (this.node.textContent !== text) this.node.textContent = text;
    this.node.dataset.state = state;
    this.node.title = state === "waiting" ? "Reconnect now" : "";
  }
}
