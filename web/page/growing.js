// Text that grows: deltas are collected and added once per frame, to text nodes that stay short.

const BLOCK = 2_000; // characters after which the next line begins a new block: the browser lays out only the last one

const grown = new Set();
let after = () => {};

/** Called once after each frame in which text grew. */
export function afterGrowth(callback) {
  after = callback;
}

function flush() {
  for (const text of grown) text.flush();
  grown.clear();
  after();
}

export class Growing {
  constructor(node, text) {
    this.node = node;
    this.set(text);
  }

  set(text) {
    this.node.replaceChildren();
    this.last = null;
    this.waiting = "";
    this.push(text);
  }

  append(delta) {
    this.waiting += delta;
    if (grown.size === 0) requestAnimationFrame(flush);
    grown.add(this);
  }

  flush() {
    this.push(this.waiting);
    this.waiting = "";
  }

  push(text) {
    let at = 0;
    while (at < text.length) {
      if (!this.last || (this.last.length >= BLOCK && this.last.data.endsWith("\n"))) this.block();
      const room = Math.max(0, BLOCK - this.last.length);
      const line = text.indexOf("\n", Math.min(at + room, text.length));
      const end = line < 0 ? text.length : line + 1;
      this.last.appendData(text.slice(at, end));
      at = end;
    }
  }

  block() {
    const block = document.createElement("div");
    this.last = document.createTextNode("");
    block.append(this.last);
    this.node.append(block);
  }
}
