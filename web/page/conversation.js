// One conversation as the hub tells it: a snapshot, then events. Holds data only; the thread draws it.

/** Calls `view.all()` after a snapshot, `view.message(m)`, `view.part(m, part)`, `view.text(part, delta)`, `view.meta()`. */
export class Conversation {
  constructor(id, view) {
    this.id = id;
    this.view = view;
    this.ready = false;
    this.reset(null);
  }

  reset(snapshot) {
    const s = snapshot ?? {};
    this.session = s.session ?? null;
    this.messages = s.messages ?? []; // grouped by turn, in order
    this.byId = new Map(this.messages.map((m) => [m.id, m]));
    this.more = s.more ?? false;
    this.before = s.before;
    this.turn = s.turn ?? null;
    this.turns = new Map((s.turns ?? []).map((t) => [t.id, t]));
    this.queue = s.queue ?? [];
    this.approvals = new Map((s.approvals ?? []).map((a) => [a.requestId, a]));
    this.decisions = new Map();
    this.presence = s.presence ?? { count: 0 };
    this.status = s.status ?? "idle";
  }

  // ---- what a subscription calls

  snapshot(data) {
    this.ready = true;
    this.reset(data);
    this.view.all();
  }

  event(name, data) {
    HANDLERS[name]?.(this, data);
  }

  ended(code, message) {
    this.view.gone(code, message);
  }

  /** The waiting approval of a tool call. */
  approvalOf(toolCallId) {
    for (const approval of this.approvals.values()) if (approval.toolCallId === toolCallId) return approval;
    return null;
  }

  resultOf(message, toolCallId) {
    return message.parts.find((p) => p.type === "tool_result" && p.toolCallId === toolCallId) ?? null;
  }

  /** A message waits in the queue, and is shown there, until its turn starts. */
  waits(message) {
    return message.state === "queued";
  }

  /** Puts a message after the last one of its turn: a queued prompt is older than the answer before it. */
  place(message) {
    const known = this.byId.get(message.id);
    if (known) {
      Object.assign(known, message);
      if (!("superseded" in message)) delete known.superseded;
      return known;
    }
    const last = this.messages.findLastIndex((m) => m.turnId === message.turnId);
    if (last < 0) this.messages.push(message);
    else this.messages.splice(last + 1, 0, message);
    this.byId.set(message.id, message);
    return message;
  }

  /** Older messages, from `messages.list`. */
  prepend(page) {
    const fresh = page.items.filter((m) => !this.byId.has(m.id));
    for (const message of fresh) this.byId.set(message.id, message);
    this.messages.unshift(...fresh);
    this.before = page.nextCursor;
    this.more = this.before !== undefined;
  }

  unqueue(turnId) {
    this.queue = this.queue.filter((t) => t.id !== turnId);
  }
}

const HANDLERS = {
  "message.created"(c, { message }) {
    c.view.message(c.place(message));
  },
  "message.updated"(c, { message }) {
    c.view.message(c.place(message));
    c.view.meta();
  },
  "part.created"(c, { part }) {
    const message = c.byId.get(part.messageId);
    if (!message) return;
    const at = message.parts.findIndex((p) => p.id === part.id);
    if (at < 0) message.parts.push(part);
    else message.parts[at] = part;
    c.view.part(message, part);
  },
  "part.updated"(c, { messageId, partId, delta, text, part: whole }) {
    const message = c.byId.get(messageId);
    const at = message ? message.parts.findIndex((p) => p.id === partId) : -1;
    if (at < 0) return;
    const part = message.parts[at];
    if (delta !== undefined) {
      part.text += delta;
      c.view.text(part, delta);
    } else {
      message.parts[at] = whole ?? { ...part, text };
      c.view.part(message, message.parts[at]);
    }
  },
  "session.updated"(c, { session, deleted }) {
    if (deleted) return c.view.gone("not_found", "this conversation was deleted");
    c.session = session;
    c.view.meta();
  },
  "tool.approval_required"(c, approval) {
    c.approvals.set(approval.requestId, approval);
    c.view.approval(approval.toolCallId);
  },
  "tool.approval_resolved"(c, resolved) {
    c.approvals.delete(resolved.requestId);
    c.decisions.set(resolved.toolCallId, resolved);
    c.view.approval(resolved.toolCallId);
  },
  "agent.status_changed"(c, { status }) {
    c.status = status;
    c.view.meta();
  },
  "turn.queued"(c, { turnId, messageId }) {
    if (!c.queue.some((t) => t.id === turnId)) c.queue.push({ id: turnId, messageId, state: "queued" });
    c.view.meta();
  },
  "turn.started"(c, { turnId, messageId, answerId, model }) {
    c.unqueue(turnId);
    c.turn = { id: turnId, messageId, answerId, model, state: "running" };
    c.view.meta();
  },
  "turn.ended"(c, ended) {
    c.unqueue(ended.turnId);
    if (c.turn?.id === ended.turnId) c.turn = null;
    c.turns.set(ended.turnId, { ...ended, id: ended.turnId });
    for (const message of c.messages) if (message.turnId === ended.turnId) c.view.message(message);
    c.view.meta();
  },
  "presence.joined": present,
  "presence.left": present,
};

function present(c, { count }) {
  c.presence = { ...c.presence, count };
  c.view.meta();
}
