// Makes elements, words for figures, and small things that every module needs. No text is ever parsed as HTML.

const HANDLER = /^on[A-Z]/;

/**
 * An element. Attributes: `class`, `onClick` and other listeners, properties that elements have, else attributes.
 * @param {string} tag
 * @param {Record<string, any>} [attributes]
 * @param {...any} children nodes, texts, or nothing
 * @returns {any}
 */
export const h = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (HANDLER.test(name)) element.addEventListener(name.slice(2).toLowerCase(), value);
    else if (name === "class") element.className = value;
    else if (name in element && name !== "list" && name !== "form" && !name.startsWith("aria")) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  append(element, children);
  return element;
};

/** @param {Element} parent @param {any[]} children */
export const append = (parent, children) => {
  for (const child of children.flat(Infinity)) if (child !== undefined && child !== null && child !== false) parent.append(child);
};

/** Replaces everything in an element; what had the focus there gives it to what takes its place. @param {Element} parent @param {...any} children */
export const fill = (parent, ...children) => {
  const before = document.activeElement;
  const place = before && before !== parent && parent.contains(before) ? placeOf(parent, before) : null;
  parent.replaceChildren();
  append(parent, children);
  if (place) refocus(parent, place);
};

const FOCUSABLE = "a[href], button, input, select, textarea, summary, [tabindex]";
/** Whom a screen reader would name. @param {any} element */
const nameOf = (element) => element.id || element.getAttribute("aria-label") || element.textContent;

/** @param {Element} parent @param {Element} element */
const placeOf = (parent, element) => ({tag: element.localName, name: nameOf(element), index: [...parent.querySelectorAll(FOCUSABLE)].indexOf(element)});

/** The same again; else what stands there now (the next of a list); else the message. @param {Element} parent @param {{tag: string, name: string, index: number}} place */
const refocus = (parent, {tag, name, index}) => {
  const found = /** @type {any[]} */ ([...parent.querySelectorAll(FOCUSABLE)]);
  const same = found.find((each) => each.localName === tag && nameOf(each) === name) ?? found[Math.min(index, found.length - 1)];
  same?.focus();
  if (!parent.contains(document.activeElement)) focusMessage();
};

/** Where keys go when what had them is gone; not on touch screens, where that would bring the keyboard up. */
export const focusMessage = () => {
  if (!matchMedia("(pointer: coarse)").matches) byId("message")?.focus();
};

/** @param {string} id @returns {any} */
export const byId = (id) => document.getElementById(id);

/** A button. @param {string} label @param {(event: any) => void} onClick @param {Record<string, any>} [more] */
export const button = (label, onClick, more = {}) => h("button", {type: "button", onClick, ...more}, label);

/** Something random that nobody guesses; `crypto.randomUUID` is missing on plain HTTP. */
export const newId = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (n) => n.toString(16).padStart(2, "0")).join("");

/** USD in words; what is unknown is not nothing. @param {number | null | undefined} usd */
export const money = (usd) => {
  if (usd === null || usd === undefined) return "cost unknown";
  if (usd === 0) return "0 USD";
  if (usd < 0.000001) return "< 0.000001 USD";
  return `${usd < 0.01 ? usd.toFixed(6) : usd < 100 ? usd.toFixed(4) : usd.toFixed(2)} USD`;
};

/** A price per million tokens of one per token. @param {string | number | undefined} price */
export const perMillion = (price) => {
  if (price === undefined || price === null || price === "") return "–";
  const usd = Number(price) * 1e6;
  if (usd < 0) return "varies";
  if (usd === 0) return "free";
  return String(Number(usd.toPrecision(3)));
};

/** @param {number | undefined} tokens */
export const thousands = (tokens) => {
  if (tokens === undefined || tokens === null) return "–";
  if (tokens >= 1e6) return `${Number((tokens / 1e6).toFixed(1))}M`;
  return tokens >= 1000 ? `${Math.round(tokens / 1000)}k` : String(tokens);
};

/** @param {number} bytes */
export const bytes = (bytes) => (bytes < 1024 ? `${bytes} B` : bytes < 1048576 ? `${(bytes / 1024).toFixed(1)} kB` : `${(bytes / 1048576).toFixed(1)} MB`);

/** @param {number} ms */
export const duration = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : ms < 60_000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`);

/** Tells a screen reader, and nobody else. @param {string} text */
export const say = (text) => {
  byId("status").textContent = text;
};

/** A short notice, with a way out if there is one. @param {string} text @param {string} [label] @param {() => void} [action] */
export const toast = (text, label, action) => {
  const gone = () => box.remove();
  const box = h("p", {class: "toast"}, text, label && button(label, () => (gone(), action?.())), button("×", gone, {"aria-label": "Dismiss"}));
  byId("toasts").append(box);
  setTimeout(gone, 8000);
};

/** A field that a closing dialog gave the focus back to has no caret when that stood in the dialog: keys would do nothing. */
const restoreCaret = () => {
  const field = document.activeElement;
  if (field instanceof HTMLTextAreaElement) field.setSelectionRange(field.selectionStart, field.selectionEnd);
};

/** Opens a dialog with this in it; resolves with what it was closed with. @param {string} title @param {(close: (value?: string) => void) => any[]} contents @param {string} [kind] */
export const ask = (title, contents, kind = "") =>
  new Promise((resolve) => {
    const id = `t-${newId().slice(0, 8)}`;
    const dialog = h("dialog", {class: `box ${kind}`, "aria-labelledby": id});
    const close = (value = "") => dialog.close(value);
    append(dialog, [
      h("div", {class: "row"}, h("h2", {id}, title), h("span", {class: "grow"}), button("×", () => close(), {"aria-label": "Close"})),
      ...contents(close),
    ]);
    dialog.addEventListener("click", (event) => event.target === dialog && close());
    dialog.addEventListener("close", () => {
      dialog.remove();
      restoreCaret();
      resolve(dialog.returnValue);
    });
    document.body.append(dialog);
    dialog.showModal();
  });

/** Copies a text, also where there is no clipboard API (plain HTTP). @param {string} text @param {string} what */
export const copy = async (text, what) => {
  let worked = false;
  try {
    if (!navigator.clipboard) throw new Error("none");
    await navigator.clipboard.writeText(text);
    worked = true;
  } catch {
    const area = h("textarea", {class: "unseen", value: text, "aria-hidden": "true"});
    const before = /** @type {any} */ (document.activeElement);
    (document.querySelector("dialog:modal") ?? document.body).append(area);
    area.select();
    worked = document.execCommand("copy");
    area.remove();
    before?.focus();
  }
  if (worked) say(`${what} copied`);
  else toast(`${what} could not be copied: select it and press Ctrl+C.`);
  return worked;
};

/** Saves a file. @param {string} name @param {Blob} blob */
export const save = (name, blob) => {
  const url = URL.createObjectURL(blob);
  h("a", {href: url, download: name}).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
};

/** An address that may be linked to, or nothing: what a model says is not trusted. @param {string} text */
export const safeLink = (text) => {
  try {
    const url = new URL(text);
    return ["http:", "https:", "mailto:"].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
};
