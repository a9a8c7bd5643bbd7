// Puts the page together: who is signed in, the link, the list, the open conversation.

import { Badge } from "./badge.js";
import { Composer } from "./composer.js";
import { Conversation } from "./conversation.js";
import { byId, randomKey, show } from "./dom.js";
import { Link } from "./link.js";
import { Sidebar } from "./sidebar.js";
import { Thread } from "./thread.js";
import { drawCountdowns } from "./tool.js";

const STATUS = {
  thinking: "thinking…",
  responding: "answering…",
  calling_tool: "using a tool…",
  awaiting_approval: "waits for approval",
  stopping: "stopping…",
};
const OLDER = 50;

/** Who is signed in; `null` for nobody. Throws where the hub cannot be reached. */
async function whoAmI() {
  const answer = await fetch("/api/v1/session", { headers: { accept: "application/json" } });
  if (answer.status === 401 || answer.status === 403) return null;
  if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
  return answer.json();
}

function only(id) {
  for (const name of ["signed-out", "trouble", "console"]) show(byId(name), name === id);
}

class Page {
  constructor(session) {
    this.session = session;
    this.conversation = null;
    this.badge = new Badge();
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    this.link = new Link(`${scheme}//${location.host}/ws`, {
      state: (link) => this.badge.link(link),
      refused: () => this.refused(),
      recovered: (news) => this.badge.recovered(news),
      gap: () => this.badge.gap(),
    });
    this.thread = new Thread({
      decide: (...answer) => this.decide(...answer),
      retry: (turnId) => this.call("messages.retry", { turnId }),
      mayAct: () => this.mayAct(),
    });
    this.composer = new Composer(this.link, {
      current: () => this.conversation,
      sent: () => this.thread.toBottom(),
      mayAct: () => this.mayAct(),
    });
    this.sidebar = new Sidebar(this.link, session.user, { current: () => this.conversation?.id });
    this.controls();
    this.link.connect();
    setInterval(() => drawCountdowns(this.link.skew), 500);
    addEventListener("hashchange", () => this.route());
    this.route();
  }

  mayAct() {
    return this.session.role !== "viewer";
  }

  controls() {
    byId("who").textContent = `${this.session.user} · ${this.session.organization}`;
    byId("new").onclick = byId("welcome-new").onclick = () => this.create();
    show(byId("new"), this.mayAct());
    show(byId("welcome-new"), this.mayAct());
    byId("sign-out").onclick = () => this.signOut();
    byId("older").onclick = () => this.older();
    byId("menu").onclick = () => this.menu(!document.body.classList.contains("menu"));
    byId("main").addEventListener("click", (event) => {
      if (!event.target.closest("#menu")) this.menu(false);
    });
    byId("conversations").addEventListener("click", () => this.menu(false)); // also when the open one is chosen
    const title = byId("title");
    title.onkeydown = (event) => event.key === "Enter" && title.blur();
    title.onchange = () => this.call("sessions.update", { title: title.value.trim() });
  }

  menu(open) {
    document.body.classList.toggle("menu", open);
    byId("menu").setAttribute("aria-expanded", String(open));
  }

  route() {
    const id = /^#\/c\/(sess_[0-9a-f]+)$/.exec(location.hash)?.[1] ?? null;
    this.menu(false);
    if (id !== this.shown) this.open(id);
  }

  open(id) {
    if (this.conversation) this.link.unsubscribe(`session:${this.conversation.id}`);
    this.shown = id;
    this.conversation = id ? new Conversation(id, this.view(id)) : null;
    this.thread.clear();
    this.thread.toBottom();
    this.composer.open(id);
    for (const name of ["title", "foot"]) show(byId(name), false);
    show(byId("older"), false);
    show(byId("welcome"), !id);
    byId("status").textContent = byId("presence").textContent = "";
    document.title = "Switchboard";
    this.sidebar.draw();
    if (id) this.link.subscribe(`session:${id}`, this.conversation);
  }

  /** What the conversation tells when it changed; says nothing once another one is open. */
  view(id) {
    const mine = () => this.conversation?.id === id;
    return {
      all: () => {
        if (!mine()) return;
        this.thread.all(this.conversation);
        for (const name of ["title", "foot"]) show(byId(name), true);
        this.composer.fit();
        this.meta();
      },
      message: (message) => mine() && this.thread.message(message),
      part: (message, part) => mine() && this.thread.part(message, part),
      text: (part, delta) => mine() && this.thread.text(part, delta),
      approval: (toolCallId) => mine() && this.thread.card(toolCallId),
      meta: () => mine() && this.meta(),
      gone: (code, message) => mine() && this.gone(id, code, message),
    };
  }

  meta() {
    const { session, status, presence, more } = this.conversation;
    const title = byId("title");
    if (document.activeElement !== title) title.value = session?.title ?? "";
    title.disabled = !this.mayAct() || session?.state === "archived";
    document.title = `${session?.title || "Untitled"} – Switchboard`;
    byId("status").textContent = session?.state === "paused" ? "paused" : (STATUS[status] ?? "");
    byId("presence").textContent = presence.count > 1 ? `${presence.count} here` : "";
    show(byId("older"), more);
    this.composer.draw(this.conversation);
    this.sidebar.learn(session, status);
  }

  gone(id, code, message) {
    if (code === "not_found") this.sidebar.forget(id);
    this.open(null);
    history.replaceState(null, "", "#/");
    byId("status").textContent = message;
  }

  /** A method about the open conversation; what fails is said below the thread. */
  call(method, params) {
    const sessionId = this.conversation?.id;
    if (!sessionId) return Promise.resolve(null);
    return this.link.request(method, { sessionId, ...params }).catch((error) => {
      this.composer.say(error.message);
      return null;
    });
  }

  async create() {
    try {
      const session = await this.link.request("sessions.create", { idempotencyKey: randomKey() });
      this.sidebar.learn(session);
      location.hash = `#/c/${session.id}`;
    } catch (error) {
      byId("status").textContent = error.message;
    }
  }

  async older() {
    const conversation = this.conversation;
    const page = await this.call("messages.list", { before: conversation.before, limit: OLDER });
    if (!page || conversation !== this.conversation) return;
    const { scroller } = this.thread;
    const fromBottom = scroller.scrollHeight - scroller.scrollTop;
    conversation.prepend(page);
    this.thread.stick = false;
    this.thread.all(conversation);
    scroller.scrollTop = scroller.scrollHeight - fromBottom;
    this.meta();
  }

  async decide(approval, approved, reason, remember) {
    const params = { sessionId: approval.sessionId, requestId: approval.requestId };
    if (approval.request.digest) params.digest = approval.request.digest;
    if (reason !== "") params.reason = reason;
    if (remember) params.remember = true;
    const decided = await this.link.request(approved ? "tools.approve" : "tools.reject", params);
    if (!decided.applied) this.composer.say(`Already ${decided.state}${decided.by ? ` by ${decided.by}` : ""}`);
  }

  /** The connection was refused, or ended for its credential: is anybody still signed in? */
  async refused() {
    const session = await whoAmI().catch(() => undefined);
    if (session !== null) return;
    this.link.close();
    only("signed-out");
  }

  async signOut() {
    this.link.close();
    await fetch("/sign-out", { method: "POST" }).catch(() => null);
    location.assign("/");
  }
}

/** Takes the code out of a link that was pasted whole. */
function signInForm() {
  const form = byId("sign-in");
  form.addEventListener("submit", () => {
    const { code } = form.elements;
    const found = /[?&]code=([^&#\s]+)/.exec(code.value);
    code.value = found ? decodeURIComponent(found[1]) : code.value.trim();
  });
}

async function start() {
  signInForm();
  try {
    const session = await whoAmI();
    only(session ? "console" : "signed-out");
    if (session) new Page(session);
  } catch (error) {
    byId("trouble-text").textContent = `The hub cannot be reached: ${error.message}`;
    byId("trouble-again").onclick = () => location.reload();
    only("trouble");
  }
}

start();
