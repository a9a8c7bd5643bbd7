// The place to write: sending, stopping, and the messages that wait.

import { byId, make, randomKey, show } from "./dom.js";

const BUSY = new Set(["running", "awaiting_approval", "stopping"]);

/** `on.current()` gives the open conversation or `null`. */
export class Composer {
  constructor(link, on) {
    this.link = link;
    this.on = on;
    this.text = byId("text");
    this.note = byId("note");
    this.drafts = new Map();
    byId("composer").onsubmit = (event) => {
      event.preventDefault();
      this.submit();
    };
    this.text.onkeydown = (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.submit();
    };
    this.text.oninput = () => this.fit();
    byId("stop").onclick = () => this.stop();
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !event.defaultPrevented && this.running()) this.stop();
    });
  }

  fit() {
    this.text.style.height = "auto";
    const { scrollHeight } = this.text; // 0 while it is hidden
    if (scrollHeight > 0) this.text.style.height = `${Math.min(scrollHeight, 240)}px`;
  }

  /** Another conversation: its own draft. */
  open(id) {
    if (this.id) this.drafts.set(this.id, this.text.value);
    this.id = id;
    this.text.value = this.drafts.get(id) ?? "";
    this.say("");
    this.fit();
    if (id && matchMedia("(pointer: fine)").matches) this.text.focus();
  }

  say(text) {
    this.note.textContent = text;
    show(this.note, text !== "");
  }

  running() {
    const turn = this.on.current()?.turn;
    return turn && BUSY.has(turn.state) ? turn : null;
  }

  async submit() {
    const content = this.text.value.trim();
    const conversation = this.on.current();
    if (content === "" || !conversation) return;
    const { id } = conversation;
    this.text.value = "";
    this.drafts.delete(id);
    this.fit();
    this.say("");
    this.on.sent();
    try {
      await this.link.request("messages.send", { sessionId: id, content, idempotencyKey: randomKey() });
    } catch (error) {
      // Nothing that was written is lost.
      if (this.id === id) this.text.value = this.text.value === "" ? content : `${content}\n${this.text.value}`;
      else this.drafts.set(id, content);
      this.fit();
      this.say(error.message);
    }
  }

  async stop() {
    const conversation = this.on.current();
    if (!conversation) return;
    byId("stop").disabled = true;
    await this.link.request("messages.stop", { sessionId: conversation.id }).catch((error) => {
      if (error.code !== "conflict") this.say(error.message); // it ended by itself just before
    });
    byId("stop").disabled = false;
  }

  draw(conversation) {
    show(byId("stop"), Boolean(this.running()));
    byId("send").textContent = this.running() ? "Queue" : "Send";
    const readOnly = conversation.session?.state === "archived" || !this.on.mayAct();
    this.text.disabled = byId("send").disabled = readOnly;
    this.text.placeholder = readOnly ? "This conversation is read-only here" : "Write a message";
    this.queue(conversation);
  }

  queue(conversation) {
    const box = byId("queue");
    const editing = box.querySelector("input:focus");
    if (editing && conversation.queue.some((t) => t.id === editing.dataset.turn)) return;
    show(box, conversation.queue.length > 0);
    box.replaceChildren(...conversation.queue.map((turn) => this.queued(conversation, turn)));
  }

  queued(conversation, turn) {
    const message = conversation.byId.get(turn.messageId);
    const part = message?.parts.find((p) => p.type === "text");
    const call = (method, params) =>
      this.link.request(method, { sessionId: conversation.id, ...params }).catch((error) => this.say(error.message));
    const input = make("input", { value: part?.text ?? "", disabled: !part, data: { turn: turn.id }, "aria-label": "waiting message" });
    input.onchange = () => {
      const content = input.value.trim();
      if (content !== "") call("messages.update", { messageId: turn.messageId, content });
    };
    input.onkeydown = (event) => event.key === "Enter" && input.blur();
    const remove = make("button", { type: "button", className: "icon", title: "Remove", "aria-label": "remove" }, "×");
    remove.onclick = () => call("messages.cancel", { turnId: turn.id });
    return make("li", {}, make("span", { className: "quiet" }, "waits"), input, remove);
  }
}
