// The thread: draws messages and keeps what is drawn in step with the conversation.

import { byId, make, show } from "./dom.js";
import { Growing, afterGrowth } from "./growing.js";
import { ToolCard } from "./tool.js";

const NEAR = 48; // pixels from the bottom that still count as "at the bottom"
const ENDED_BADLY = { stopped: "stopped", interrupted: "interrupted by a restart", failed: "failed", cancelled: "cancelled" };

/** `actions`: `decide(approval, approved, reason, remember)`, `retry(turnId)`, `mayAct()`. */
export class Thread {
  constructor(actions) {
    this.actions = actions;
    this.scroller = byId("thread");
    this.list = byId("messages");
    this.bottom = byId("bottom");
    this.stick = true;
    this.top = 0;
    this.clear();
    this.scroller.addEventListener("scroll", () => this.scrolled());
    this.bottom.onclick = () => this.toBottom();
    new ResizeObserver(() => this.follow()).observe(this.scroller);
    afterGrowth(() => this.follow());
  }

  clear() {
    this.articles = new Map();
    this.texts = new Map();
    this.cards = new Map();
    this.parts = new Map();
    this.list.replaceChildren();
  }

  /** Draws all anew, such as after a snapshot. */
  all(conversation) {
    this.conversation = conversation;
    const open = new Set([...this.parts].filter(([, node]) => node.open).map(([id]) => id));
    this.clear();
    for (const message of conversation.messages) this.message(message);
    for (const id of open) if (this.parts.get(id) instanceof HTMLDetailsElement) this.parts.get(id).open = true;
    this.follow();
  }

  message(message) {
    const known = this.articles.get(message.id);
    if (this.conversation.waits(message)) {
      known?.node.remove();
      this.articles.delete(message.id);
      return;
    }
    const article = known ?? this.article(message);
    article.node.dataset.state = message.state;
    article.node.classList.toggle("superseded", Boolean(message.superseded));
    for (const part of message.parts) this.part(message, part);
    this.foot(article.foot, message);
    this.follow();
  }

  article(message) {
    const body = make("div", { className: "parts" });
    const foot = make("footer", { className: "quiet" });
    const who = message.role === "user" ? "you" : "assistant";
    const node = make("article", { className: "message", data: { role: message.role, id: message.id } , "aria-label": who }, body, foot);
    const article = { node, body, foot };
    this.articles.set(message.id, article);
    // Where it belongs: before the next message that is drawn.
    const { messages } = this.conversation;
    const next = messages.slice(messages.indexOf(message) + 1).find((m) => this.articles.has(m.id));
    this.list.insertBefore(node, next ? this.articles.get(next.id).node : null);
    return article;
  }

  part(message, part) {
    const article = this.articles.get(message.id);
    if (!article) return;
    if (part.type === "tool_result") return this.card(part.toolCallId);
    const known = this.parts.get(part.id);
    if (!known) {
      const node = this.newPart(part);
      this.parts.set(part.id, node);
      article.body.append(node);
    } else if (this.texts.has(part.id)) {
      const text = this.texts.get(part.id);
      text.flush();
      if (text.node.textContent !== part.text) text.set(part.text);
    }
    if (part.type === "tool_call") this.card(part.toolCallId);
    this.follow();
  }

  newPart(part) {
    switch (part.type) {
      case "text": {
        const node = make("div", { className: "text" });
        this.texts.set(part.id, new Growing(node, part.text));
        return node;
      }
      case "thinking": {
        const node = make("div", { className: "text" });
        this.texts.set(part.id, new Growing(node, part.text));
        return make("details", { className: "thinking" }, make("summary", {}, "Thinking"), node);
      }
      case "tool_call": {
        const card = new ToolCard(this.actions.decide, this.actions.mayAct());
        this.cards.set(part.toolCallId, { card, id: part.id, messageId: part.messageId });
        return card.node;
      }
      case "attachment":
        return make("div", { className: "attachment" }, `${part.kind === "image" ? "🖼" : "📎"} ${part.name}`);
      default:
        return make("div", { className: "quiet" }, `(${part.type})`);
    }
  }

  /** Draws a tool's card from what the conversation now says of it. */
  card(toolCallId) {
    const known = this.cards.get(toolCallId);
    const message = known && this.conversation.byId.get(known.messageId);
    const call = message?.parts.find((p) => p.id === known.id);
    if (!call) return;
    known.card.draw(call, {
      approval: this.conversation.approvalOf(toolCallId),
      decided: this.conversation.decisions.get(toolCallId),
      result: this.conversation.resultOf(message, toolCallId),
    });
    this.follow();
  }

  text(part, delta) {
    this.texts.get(part.id)?.append(delta);
  }

  foot(foot, message) {
    foot.replaceChildren();
    if (message.role !== "assistant" || message.state === "streaming") return;
    const turn = this.conversation.turns.get(message.turnId);
    const said = [message.model, message.usage?.total > 0 && `${message.usage.total} tokens`].filter(Boolean).join(" · ");
    if (said) foot.append(make("span", {}, said));
    if (message.superseded) foot.append(make("span", { className: "end" }, "replaced"));
    const bad = ENDED_BADLY[message.state];
    if (!bad) return;
    foot.append(make("span", { className: "end" }, turn?.state === "aborted" ? "aborted" : bad));
    if (turn?.error) foot.append(make("span", { className: "problem" }, turn.error));
    if (turn && !message.superseded && this.actions.mayAct()) {
      foot.append(make("button", { className: "link", onclick: () => this.actions.retry(message.turnId) }, "Retry"));
    }
  }

  // ---- staying at the bottom, and not when the reader went up

  scrolled() {
    const { scrollTop, clientHeight, scrollHeight } = this.scroller;
    // Only going up lets go of the bottom: the space may also shrink under the reader.
    if (scrollHeight - scrollTop - clientHeight < NEAR) this.stick = true;
    else if (scrollTop < this.top) this.stick = false;
    this.top = scrollTop;
    show(this.bottom, !this.stick);
  }

  follow() {
    if (this.stick) this.scroller.scrollTop = this.scroller.scrollHeight;
    else show(this.bottom, true);
  }

  toBottom() {
    this.stick = true;
    show(this.bottom, false);
    this.follow();
  }
}
