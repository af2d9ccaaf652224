// Tokens of Markdown to nodes. Element names come from this table, never from a token; what is in no row is text.

import {h, safeLink} from "../lib/dom.js";

const INLINE = {strong: "strong", em: "em", del: "del"};

/** @param {any[] | undefined} tokens @param {any} tools @returns {any[]} */
const all = (tokens, tools) => (tokens ?? []).flatMap((token) => nodesOf(token, tools));

const aligned = (align) => (align === "right" || align === "center" ? align : "");

/** A row of a table. @param {any[]} row @param {any} tools */
export const rowOf = (row, tools) => h("tr", {}, row.map((cell) => h("td", {class: aligned(cell.align)}, all(cell.tokens, tools))));

const KINDS = {
  paragraph: (token, tools) => h("p", {dir: "auto"}, all(token.tokens, tools)),
  heading: (token, tools) => h(`h${Math.min(6, token.depth + 2)}`, {dir: "auto"}, all(token.tokens, tools)),
  blockquote: (token, tools) => h("blockquote", {}, all(token.tokens, tools)),
  hr: () => h("hr"),
  list: (token, tools) => h(token.ordered ? "ol" : "ul", token.ordered && token.start !== 1 ? {start: token.start} : {}, all(token.items, tools)),
  list_item: (token, tools) => h("li", {dir: "auto"}, token.task && [h("input", {type: "checkbox", disabled: true, checked: token.checked, "aria-label": token.checked ? "done" : "to do"}), " "], all(token.tokens.filter(({type}) => type !== "checkbox"), tools)),
  table: (token, tools) =>
    h(
      "div",
      {class: "table", tabIndex: 0, role: "group", "aria-label": "Table"},
      h(
        "table",
        {},
        h("thead", {}, h("tr", {}, token.header.map((cell) => h("th", {scope: "col", class: aligned(cell.align)}, all(cell.tokens, tools))))),
        h("tbody", {}, token.rows.map((row) => rowOf(row, tools))),
      ),
    ),
  code: (token) => h("pre", {class: "code", tabIndex: 0, role: "group", "aria-label": "Code"}, h("code", {}, token.text)),
  codespan: (token) => h("code", {}, token.text),
  br: () => h("br"),
  link: (token, tools) => {
    const href = safeLink(token.href);
    const inner = token.tokens?.length ? all(token.tokens, tools) : [token.text];
    return href ? h("a", {href, title: token.title || null, target: "_blank", rel: "noopener noreferrer"}, inner) : h("span", {}, token.raw);
  },
  image: (token) => {
    const href = safeLink(token.href);
    return href ? h("a", {href, target: "_blank", rel: "noopener noreferrer"}, `image: ${token.text || href}`) : h("span", {}, token.raw);
  },
  math: (token, {loader}) => {
    const node = h(token.display ? "div" : "span", {class: token.display ? "math-block" : "math", ...(token.display && {tabIndex: 0, role: "group", "aria-label": "Formula"})}, token.raw.trim());
    loader.show(node, token.text, token.display);
    return node;
  },
  text: (token, tools) => (token.tokens ? all(token.tokens, tools) : token.text),
  escape: (token) => token.text,
  space: () => [],
  def: () => [],
  html: (token) => (token.block ? h("p", {class: "plain"}, token.raw.trimEnd()) : token.raw),
};

/** @param {any} token @param {any} tools @returns {any[]} */
export const nodesOf = (token, tools) => {
  const tag = INLINE[token.type];
  if (tag && Object.hasOwn(INLINE, token.type)) return [h(tag, {}, all(token.tokens, tools))];
  const make = Object.hasOwn(KINDS, token.type) ? KINDS[token.type] : () => token.raw;
  return [make(token, tools)].flat().filter((node) => node !== "" && node !== undefined);
};
