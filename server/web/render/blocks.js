// Shows Markdown while it comes. Blocks that are finished are never touched again; what may still change is the last two, and
// only those are read anew. The text goes through a lexer to nodes of our own: nothing in it is ever parsed as HTML.

import {button, copy, h} from "../lib/dom.js";
import {FormulaLoader, formulas} from "./formulas.js";
import {nodesOf, rowOf} from "./nodes.js";

const LIVE = 2;
/** Longest text, and longest block, that is formatted without being asked for. */
const MOST_TEXT = 1_000_000;
const MOST_BLOCK = 200_000;
const MOST_CODE = 20_000;
const NEAR = 2000;
/** Quotations and lists in each other, which cost the lexer the square of their number. */
const TOO_DEEP = /^(?:[ \t]*(?:>|[-+*](?=[ \t]))){50}/m;
const MOST_LINE = 5000;
/** A block that is longer is read anew when it has grown by a tenth; what comes meanwhile stands behind it as it is. */
const LONG = 2500;
const GROWN = 1.1;
/** An answer that is longer is read as a whole somewhat after its end. */
const AT_ONCE = 20_000;
const CHECK_MS = 100;
/** Nesting beyond which a block is shown as it is: recursion has an end. */
const DEEPEST = 60;

/** What the renderer did, for whoever measures it. */
export const counts = {lexed: 0, blocks: 0};

/** Loads what formats. */
export const load = async () => {
  const {Marked, Tokenizer, lowlight, remend} = await import("../vendor/format.js");
  const {emStrong, inlineText, url} = Tokenizer.prototype;
  const marked = new Marked({
    gfm: true,
    extensions: formulas,
    // what looks for an end looks nearby only: to the end of a long block it would cost the square of the marks in it
    tokenizer: {
      emStrong(text, masked, before) {
        return emStrong.call(this, text.slice(0, NEAR), masked.slice(-text.length).slice(0, NEAR), before);
      },
      url(text) {
        return url.call(this, text.slice(0, NEAR));
      },
      inlineText(text) {
        return inlineText.call(this, text.slice(0, NEAR));
      },
    },
  });
  const loader = new FormulaLoader();
  const lex = (text) => {
    counts.lexed += text.length;
    return marked.lexer(text);
  };
  /** Closes what is unfinished in the last block, so that no marks flash. */
  const mended = (text) => remend(text, {links: false, images: false, katex: false, inlineKatex: false, setextHeadings: false});
  const tools = {lex, mended, lowlight, loader};
  return {
    BlockRenderer: class extends BlockRenderer {
      constructor(element) {
        super(element, tools);
      }
    },
  };
};

class BlockRenderer {
  #element;
  #tools;
  #text = "";
  /** Where the blocks that may still change begin. */ #from = 0;
  /** Blocks on the screen: the token, and its node. @type {{token: any, node: any, isOpen: boolean}[]} */ #blocks = [];
  #final = 0;
  /** A fence that is open: its text node, and where it ends. @type {any} */ #fence = null;
  #isPlain = false;
  /** What stands behind a long block. @type {any} */ #tail = null;
  #lexedTo = 0;

  constructor(element, tools) {
    this.#element = element;
    this.#tools = tools;
  }

  /** @param {string} text all that has come; it begins with what came before */
  update(text) {
    const normal = normalized(text);
    if (this.#isPlain) return this.#showPlain(normal);
    if (this.#fence && this.#growFence(normal)) return;
    this.#text = normal;
    const rest = normal.slice(this.#from);
    const before = this.#lexedTo - this.#from;
    if (before > LONG && rest.length < before * GROWN) return this.#showTail(normal.slice(this.#lexedTo));
    if (normal.length > MOST_TEXT || TOO_DEEP.test(rest) || (rest.length > MOST_BLOCK && this.#blocks.length - this.#final <= 1)) return this.#showPlain(normal);
    try {
      this.#show(this.#lexed(rest), rest);
    } catch (error) {
      this.#showPlain(normal, error);
    }
    this.#lexedTo = normal.length;
    this.#tail?.remove();
    this.#tail = null;
  }

  finish(text) {
    const normal = normalized(text);
    if (this.#isPlain || normal.length > MOST_TEXT || TOO_DEEP.test(normal)) return this.#showPlain(normal);
    this.#text = normal;
    this.#fence = null;
    this.#tail?.remove();
    this.#tail = null;
    if (normal.length < AT_ONCE || !this.#blocks.length) return this.#check(normal);
    try {
      this.#place(this.#tools.lex(normal.slice(this.#from)).filter(({type}) => type !== "space" && type !== "def"), false);
    } catch (error) {
      return this.#showPlain(normal, error);
    }
    setTimeout(() => this.#check(normal), CHECK_MS); // the whole of it in a task of its own, since that takes a while
  }

  /** Reads the whole once, and mends what looks different then. */
  #check(normal) {
    let tokens;
    let hasLinks = false;
    try {
      const all = this.#tools.lex(normal);
      hasLinks = Object.keys(all.links ?? {}).length > 0;
      tokens = all.filter(({type}) => type !== "space" && type !== "def");
    } catch (error) {
      return this.#showPlain(normal, error);
    }
    if (tokens.some(({raw}) => raw.length > MOST_BLOCK)) return this.#showPlain(normal);
    this.#from = 0;
    this.#final = 0;
    this.#place(tokens, false, hasLinks);
    this.#final = this.#blocks.length;
  }

  /** Tokens with what separates them: their raw texts are the text. */
  #lexed(rest) {
    const tokens = this.#tools.lex(rest);
    const last = tokens.findLastIndex(({type}) => type !== "space");
    if (last < 0 || !["paragraph", "heading", "list", "blockquote", "table"].includes(tokens[last].type)) return tokens;
    const raw = tokens[last].raw;
    const mended = raw.length > LONG ? raw : this.#tools.mended(raw);
    if (mended === raw) return tokens;
    const [again] = this.#tools.lex(mended);
    if (again?.type === tokens[last].type) tokens[last] = {...again, raw, mended};
    return tokens;
  }

  #show(tokens, rest) {
    const solid = tokens.filter(({type}) => type !== "space" && type !== "def");
    this.#place(solid, true);
    // what lies before the last two blocks is finished
    let length = 0;
    let finished = solid.length - LIVE;
    for (const token of tokens) {
      if (finished <= 0) break;
      if (token.type !== "space" && token.type !== "def") {
        finished--;
        this.#final++;
      }
      length += token.raw.length;
    }
    this.#from += length;
    const last = solid.at(-1);
    this.#fence = last?.type === "code" && isOpen(last.raw) && rest.endsWith(last.raw) ? this.#fenceOf(last) : null;
  }

  /** Puts blocks after the finished ones; those that are there already stay. Definitions of links, which come late, change others. */
  #place(tokens, isRunning, hasLinks = true) {
    tokens.forEach((token, offset) => {
      const index = this.#final + offset;
      const before = this.#blocks[index];
      const isSame = before && before.token.raw === token.raw && before.token.mended === token.mended && before.token.type === token.type && (isRunning || !hasLinks || JSON.stringify(before.token) === JSON.stringify(token));
      if (isSame && !(before.isOpen && !isRunning)) return;
      if (before && isRunning && token.type === before.token.type && (token.type === "list" ? this.#growList(before, token) : token.type === "table" && this.#growTable(before, token))) return;
      const open = token.type === "code" && isRunning && isOpen(token.raw);
      const node = this.#nodeOf(token, open);
      counts.blocks++;
      if (before) before.node.replaceWith(node);
      else this.#element.append(node);
      this.#blocks[index] = {token, node, isOpen: open};
    });
    for (const {node} of this.#blocks.splice(this.#final + tokens.length)) node.remove();
  }

  #nodeOf(token, isOpen) {
    if (depthOf(token) > DEEPEST) return h("div", {class: "plain"}, token.raw);
    if (token.type === "code") return codeBlock(token, isOpen ? null : this.#tools.lowlight);
    return nodesOf(token, this.#tools)[0] ?? h("p", {});
  }

  /** A list grows by its last items; those before stay. */
  #growList(before, token) {
    const old = before.token;
    if (old.ordered !== token.ordered || old.start !== token.start || old.loose !== token.loose || token.items.length < old.items.length || depthOf(token) > DEEPEST) return false;
    const items = token.items.map((item, index) => {
      const was = old.items[index];
      if (was && was.raw === item.raw && ((!old.mended && !token.mended) || index < token.items.length - 1)) return was;
      const [node] = nodesOf(item, this.#tools);
      const here = before.node.children[index];
      if (here) here.replaceWith(node);
      else before.node.append(node);
      return item;
    });
    before.token = {...token, items}; // as they are shown: the end finds what a late definition has changed
    return true;
  }

  /** A table grows by its last rows. */
  #growTable(before, token) {
    const old = before.token;
    const same = (a, b) => a.length === b.length && a.every((cell, index) => cell.text === b[index].text && cell.align === b[index].align);
    if (!same(old.header, token.header) || token.rows.length < old.rows.length || old.mended || token.mended) return false;
    const body = before.node.querySelector("tbody");
    const rows = token.rows.map((row, index) => {
      if (old.rows[index] && same(old.rows[index], row)) return old.rows[index];
      const node = rowOf(row, this.#tools);
      if (body.children[index]) body.children[index].replaceWith(node);
      else body.append(node);
      return row;
    });
    before.token = {...token, header: old.header, rows};
    return true;
  }

  #showTail(text) {
    if (!this.#tail) {
      this.#tail = h("span", {class: "plain"}, document.createTextNode(""));
      this.#element.append(this.#tail);
    }
    const node = this.#tail.firstChild;
    node.appendData(text.slice(node.length));
  }

  #fenceOf(token) {
    const block = this.#blocks.at(-1);
    const [, indent, marks] = /^( {0,3})(`{3,}|~{3,})/.exec(token.raw) ?? [];
    if (indent) return null; // its lines lose their indent: read anew
    const code = block?.node.querySelector("code");
    return code && {block, marks, text: code.firstChild ?? code.appendChild(document.createTextNode("")), end: this.#text.length};
  }

  /** The open fence gets what has come, as long as no line of it may close it. */
  #growFence(text) {
    const fence = this.#fence;
    const fresh = text.slice(fence.end);
    const line = text.slice(text.lastIndexOf("\n", fence.end - 1) + 1);
    if (line.includes(fence.marks[0])) {
      const closes = line.split("\n").some((each) => /^ {0,3}(`+|~+)/.test(each));
      if (closes) return false;
    }
    // the lexer leaves the last line break of a fence out
    const shown = fence.block.node.querySelector("code").textContent;
    const raw = fence.block.token.raw + fresh;
    const whole = raw.slice(raw.indexOf("\n") + 1).replace(/\n$/, "");
    if (raw.indexOf("\n") < 0 || !whole.startsWith(shown)) return false;
    fence.text.appendData(whole.slice(shown.length));
    fence.block.token = {...fence.block.token, raw, text: whole};
    fence.end = text.length;
    this.#text = text;
    return true;
  }

  /** A text that no parser is trusted with, or that it did not bear. @param {string} text @param {unknown} [error] */
  #showPlain(text, error) {
    if (!this.#isPlain) {
      this.#isPlain = true;
      this.#tail?.remove();
      const format = button("Format anyway", () => {
        this.#element.replaceChildren();
        this.#blocks = [];
        this.#from = this.#final = 0;
        this.#place(this.#tools.lex(this.#text).filter(({type}) => type !== "space" && type !== "def"), false);
      });
      this.#element.replaceChildren(h("p", {class: "row quiet"}, error ? "This answer cannot be formatted and is shown as plain text." : "This answer is very long and is shown as plain text. ", !error && format), h("div", {class: "plain"}, document.createTextNode("")));
      this.#text = "";
    }
    const node = /** @type {Text} */ (this.#element.lastElementChild?.firstChild);
    if (node && text.length > this.#text.length) node.appendData(text.slice(this.#text.length));
    this.#text = text;
  }
}

/** Lines end in one way; half of a line end is left for the next time. @param {string} text */
const normalized = (text) => (text.includes("\r") ? text.replace(/\r$/, "").replace(/\r\n?/g, "\n") : text);

/** Whether a fence has not ended. @param {string} raw */
const isOpen = (raw) => {
  const [, marks] = /^ {0,3}(`{3,}|~{3,})/.exec(raw) ?? [];
  if (!marks) return false;
  const lines = raw.trimEnd().split("\n");
  return lines.length < 2 || !new RegExp(`^ {0,3}${marks[0]}{${marks.length},} *$`).test(lines.at(-1));
};

/** How deep a token goes. @param {any} token @returns {number} */
const depthOf = (token) => {
  let depth = 0;
  for (let level = [token]; level.length && depth <= DEEPEST + 1; depth++) level = level.flatMap((each) => [...(each.tokens ?? []), ...(each.items ?? [])]);
  return depth;
};

/** Code with a bar above it; coloured once, when it is whole. @param {any} token @param {any} lowlight */
const codeBlock = (token, lowlight) => {
  const language = (token.lang ?? "").match(/^[\w+#.-]*/)?.[0] ?? "";
  const code = h("code", {});
  const text = token.text;
  const canColour = lowlight && language && lowlight.registered(language) && text.length <= MOST_CODE && !text.split("\n").some((line) => line.length > MOST_LINE);
  if (canColour) code.append(...coloured(lowlight.highlight(language, text).children));
  else code.append(document.createTextNode(text));
  const name = language ? `${language} code` : "Code";
  return h(
    "figure",
    {class: "block", dir: "ltr"},
    h("figcaption", {}, h("span", {}, language || "code"), button("copy", () => copy(code.textContent, name), {"aria-label": `Copy ${name}`})),
    h("pre", {class: "code", tabIndex: 0, role: "group", "aria-label": name}, code),
  );
};

/** @param {any[]} children of a tree of highlight.js @returns {any[]} */
const coloured = (children) =>
  children.map((child) => {
    if (child.type === "text") return document.createTextNode(child.value);
    const names = (child.properties?.className ?? []).filter((name) => /^[\w-]+$/.test(name));
    return h("span", {class: names.join(" ")}, ...coloured(child.children));
  });
