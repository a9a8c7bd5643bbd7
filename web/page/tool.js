// The card of a tool call: what was asked for in full, the question to a human, the result.

import { make, show } from "./dom.js";

const WORDS = {
  requested: "requested",
  awaiting: "waits for approval",
  approved: "approved",
  executing: "running",
  succeeded: "done",
  failed: "failed",
  denied: "denied",
  expired: "not answered",
  cancelled: "cancelled",
  unknown: "outcome unknown",
};

/** What is not seen, or shows others elsewhere than they are, is written out. */
const seen = (text) =>
  text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\u034f\u115f\u1160\u3164\uffa0\ufe00-\ufe0f]/gu, (c) =>
    c === "\n" ? c : `\\u{${c.codePointAt(0).toString(16)}}`,
  );
const pretty = (input) => seen(typeof input === "string" ? input : JSON.stringify(input, null, 2));

/** `decide(approval, approved, reason, remember)` gives a promise; `mayDecide` is false for viewers. */
export class ToolCard {
  constructor(decide, mayDecide) {
    this.decide = decide;
    this.mayDecide = mayDecide;
    this.name = make("span", { className: "tool-name" });
    this.state = make("span", { className: "tool-state" });
    this.input = make("pre", { className: "tool-input" });
    this.question = make("div", { className: "question", role: "group", "aria-label": "approval" });
    this.decision = make("p", { className: "decision quiet" });
    this.result = make("pre", { className: "tool-result" });
    this.node = make(
      "details",
      { className: "tool" },
      make("summary", {}, make("span", { className: "tool-dot" }), this.name, this.state),
      make("div", { className: "label" }, "Arguments"),
      this.input,
      this.question,
      this.decision,
      this.result,
    );
    this.asked = null;
  }

  /** `approval` waits; `decided` is how it was settled; `result` is the part that holds the outcome. */
  draw(call, { approval, decided, result }) {
    this.node.dataset.state = call.state;
    this.node.dataset.toolCallId = call.toolCallId;
    this.name.textContent = call.name;
    this.state.textContent = WORDS[call.state] ?? call.state;
    this.input.textContent = pretty(call.input);
    this.ask(approval);
    show(this.decision, Boolean(decided));
    if (decided) this.decision.textContent = sentence(decided);
    show(this.result, Boolean(result));
    if (result) {
      this.result.textContent = result.output;
      this.result.classList.toggle("error", result.isError);
    }
  }

  ask(approval) {
    show(this.question, Boolean(approval));
    if (this.asked === (approval?.requestId ?? null)) return;
    this.asked = approval?.requestId ?? null;
    this.question.replaceChildren();
    if (!approval) return;
    this.node.open = true;
    const { summary, risks } = approval.request;
    this.question.append(make("p", { className: "question-text" }, "Allow this? ", make("strong", {}, summary)));
    if (risks.length > 0) this.question.append(make("ul", { className: "risks" }, ...risks.map((r) => make("li", {}, r))));
    const left = countdown(approval.deadline);
    if (!this.mayDecide) {
      this.question.append(make("p", { className: "quiet" }, "You may watch, not answer. ", left));
      return;
    }
    this.question.append(this.answers(approval, left));
  }

  answers(approval, left) {
    const reason = make("input", { placeholder: "Reason (optional)", maxLength: 500, "aria-label": "reason" });
    const approve = make("button", { type: "button", className: "approve" }, "Approve");
    const deny = make("button", { type: "button", className: "deny" }, "Deny");
    const problem = make("p", { className: "problem", role: "alert", hidden: true });
    const always = make("input", { type: "checkbox" });
    const kept = (approval.request.remember ?? []).includes("arguments")
      ? [make("label", { className: "quiet" }, always, " the same next time")]
      : [];
    const answer = async (approved) => {
      approve.disabled = deny.disabled = true;
      problem.hidden = true;
      try {
        await this.decide(approval, approved, reason.value.trim(), always.checked);
      } catch (error) {
        approve.disabled = deny.disabled = false;
        problem.textContent = error.message;
        problem.hidden = false;
      }
    };
    approve.onclick = () => answer(true);
    deny.onclick = () => answer(false);
    reason.onkeydown = (event) => event.key === "Enter" && event.preventDefault();
    return make("div", {}, make("div", { className: "answers" }, approve, deny, reason, ...kept, left), problem);
  }
}

function sentence({ state, approved, by, reason }) {
  const who = by ? ` by ${by}` : "";
  const why = reason ? `: ${reason}` : "";
  if (state === "expired") return "Denied: nobody answered in time";
  if (state === "cancelled") return "Withdrawn: the turn was stopped";
  return `${approved ? "Approved" : "Denied"}${who}${why}`;
}

let skew = 0; // our clock minus the hub's, in ms

function tick(node) {
  const left = Math.max(0, Math.ceil((Date.parse(node.dataset.deadline) + skew - Date.now()) / 1000));
  node.textContent = `${left} s left`;
  node.classList.toggle("urgent", left <= 10);
}

/** The seconds until `deadline`, an RFC 3339 time of the hub. */
export function countdown(deadline) {
  const node = make("span", { className: "countdown", data: { deadline } });
  tick(node);
  return node;
}

/** Draws all countdowns on the page anew. */
export function drawCountdowns(clockSkew) {
  skew = clockSkew;
  document.querySelectorAll("[data-deadline]").forEach(tick);
}
