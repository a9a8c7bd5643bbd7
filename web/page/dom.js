// Makes elements. Text always goes in as text: nothing that comes from outside is ever parsed as HTML.

/** The element with this id. */
export const byId = (id) => document.getElementById(id);

/**
 * A new element. `set` holds properties (`className`, `onclick`, …), `data` for `dataset`, `aria-*` and `role` as
 * attributes. Children are elements or strings; `null` and `false` are left out.
 */
export function make(tag, set = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(set)) {
    if (value === undefined || value === null) continue;
    if (name === "data") Object.assign(element.dataset, value);
    else if (name.startsWith("aria-") || name === "role") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Shows or hides. */
export function show(element, visible) {
  element.hidden = !visible;
}

/** 32 random hexadecimal digits; works on plain http as well, where `crypto.randomUUID` does not exist. */
export function randomKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
}
