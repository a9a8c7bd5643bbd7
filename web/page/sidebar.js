// The list of conversations, and what waits in those that are not open.

import { byId, make, show } from "./dom.js";
import { countdown } from "./tool.js";

const PAGE = 50;

/** `on.current()` gives the id of the open conversation. */
export class Sidebar {
  constructor(link, user, on) {
    this.link = link;
    this.on = on;
    this.list = byId("conversations");
    this.older = byId("older-conversations");
    this.sessions = new Map();
    this.status = new Map();
    this.approvals = new Map();
    this.cursor = undefined;
    this.older.onclick = () => this.load();
    link.subscribe(`user:${user}`, this);
  }

  /** Conversations of others in the organization are in no `user:` snapshot: the list has them. */
  async load() {
    const params = this.cursor ? { limit: PAGE, cursor: this.cursor } : { limit: PAGE };
    const page = await this.link.request("sessions.list", params).catch(() => null);
    if (!page) return;
    for (const session of page.items) this.sessions.set(session.id, session);
    this.cursor = page.nextCursor;
    show(this.older, this.cursor !== undefined);
    this.draw();
  }

  snapshot(data) {
    this.status.clear();
    this.approvals = new Map((data?.approvals ?? []).map((a) => [a.requestId, a]));
    for (const session of data?.sessions ?? []) this.sessions.set(session.id, session);
    this.cursor = undefined;
    this.draw();
    this.load();
  }

  event(name, data) {
    switch (name) {
      case "session.updated":
        if (data.deleted) this.sessions.delete(data.session.id);
        else this.sessions.set(data.session.id, data.session);
        break;
      case "agent.status_changed":
        this.status.set(data.sessionId, data.status);
        break;
      case "tool.approval_required":
        this.approvals.set(data.requestId, data);
        break;
      case "tool.approval_resolved":
        this.approvals.delete(data.requestId);
        break;
      default:
        return;
    }
    this.draw();
  }

  ended(code, message) {
    console.warn("the list of conversations ended:", code, message);
  }

  /** The open conversation knows better than the list. */
  learn(session, status) {
    if (session) this.sessions.set(session.id, session);
    if (session && status) this.status.set(session.id, status);
    this.draw();
  }

  forget(id) {
    this.sessions.delete(id);
    this.draw();
  }

  draw() {
    if (this.drawing) return;
    this.drawing = requestAnimationFrame(() => {
      this.drawing = null;
      this.paint();
    });
  }

  paint() {
    const current = this.on.current();
    const asking = new Set([...this.approvals.values()].map((a) => a.sessionId));
    const shown = [...this.sessions.values()].filter((s) => s.state !== "archived" || s.id === current);
    shown.sort((a, b) => b.updatedAt.localeCompare(a.updatedAt));
    this.list.replaceChildren(...shown.map((session) => this.item(session, current, asking.has(session.id))));
    const elsewhere = [...this.approvals.values()].filter((a) => a.sessionId !== current);
    this.paintElsewhere(elsewhere);
    show(byId("menu-mark"), elsewhere.length > 0);
  }

  item(session, current, asks) {
    const status = this.status.get(session.id) ?? "idle";
    const link = make(
      "a",
      { href: `#/c/${session.id}`, data: { id: session.id } },
      make("span", { className: "dot", data: { status }, title: status.replaceAll("_", " ") }),
      make("span", { className: "name" }, session.title || "Untitled"),
      session.state !== "active" && make("span", { className: "tag" }, session.state),
      asks && make("span", { className: "mark", title: "waits for approval", "aria-label": "waits for approval" }, "!"),
    );
    if (session.id === current) link.setAttribute("aria-current", "page");
    return make("li", {}, link);
  }

  paintElsewhere(waiting) {
    const box = byId("elsewhere");
    show(box, waiting.length > 0);
    box.replaceChildren(
      ...waiting.slice(0, 3).map((approval) => {
        const title = this.sessions.get(approval.sessionId)?.title || "another conversation";
        const text = `${title}: ${approval.request.summary}`;
        return make(
          "a",
          { href: `#/c/${approval.sessionId}` },
          make("span", { className: "mark" }, "!"),
          make("span", { className: "name" }, text),
          countdown(approval.deadline),
        );
      }),
    );
  }
}
