// Formulas: found before Markdown eats their backslashes, shown when what draws them has been loaded, with the first of them.

const BLOCK = /^ {0,3}(?:\$\$([^]+?)\$\$|\\\[([^]+?)\\\])[ \t]*(?:\n+|$)/;
const INLINE = /^(?:\\\(([^]+?)\\\)|\\\[([^]+?)\\\]|\$\$([^]+?)\$\$|\$(?!\s)((?:\\[^\n]|[^\\$\n])+?)(?<!\s)\$(?!\d))/;
const MOST = 5000;
/** Braces in braces: browsers do not bear any number of boxes in boxes. */
const DEEPEST = 40;

/** Extensions of the lexer. */
export const formulas = [
  {
    name: "math",
    level: "block",
    start: (text) => /(?:^|\n) {0,3}(?:\$\$|\\\[)/.exec(text)?.index,
    tokenizer(text) {
      const [raw, dollars, brackets] = BLOCK.exec(text) ?? [];
      const inner = dollars ?? brackets;
      return raw && inner.trim() && !/\n[ \t]*\n/.test(inner) && raw.length < MOST ? {type: "math", raw, text: inner.trim(), display: true} : undefined;
    },
  },
  {
    name: "math",
    level: "inline",
    start: (text) => /\$|\\\(|\\\[/.exec(text)?.index,
    tokenizer(text) {
      const [raw, round, square, twice, once] = INLINE.exec(text) ?? [];
      const inner = round ?? square ?? twice ?? once;
      return raw && inner.trim() && raw.length < MOST ? {type: "math", raw, text: inner.trim(), display: square !== undefined || twice !== undefined} : undefined;
    },
  },
];

const OPTIONS = {trust: false, throwOnError: false, maxSize: 20, maxExpand: 1000, strict: false, output: "htmlAndMathml"};

/** @param {string} text */
const depthOf = (text) => {
  let [depth, deepest] = [0, 0];
  for (const letter of text) {
    if (letter === "{") deepest = Math.max(deepest, ++depth);
    else if (letter === "}") depth--;
  }
  return deepest;
};

export class FormulaLoader {
  /** @type {Promise<void> | null} */ #loading = null;
  /** @type {any} */ #render = null;

  /** Draws a formula into a node that holds its source; what cannot be read stays as it is. @param {any} node @param {string} text @param {boolean} display */
  show(node, text, display) {
    if (depthOf(text) > DEEPEST) return;
    if (this.#render) return this.#draw(node, text, display); // in the same frame, or all would be laid out twice
    this.#loading ??= this.#load();
    this.#loading.then(() => this.#draw(node, text, display));
  }

  #draw(node, text, display) {
    const render = this.#render;
    const source = node.textContent;
    try {
      render(text, node, {...OPTIONS, displayMode: display, throwOnError: true});
    } catch {
      node.textContent = source;
    }
  }

  async #load() {
    const url = new URL("../vendor/maths.css", import.meta.url).href;
    const sheet = document.createElement("link");
    sheet.rel = "stylesheet";
    sheet.href = url;
    document.head.append(sheet);
    this.#render = (await import("../vendor/maths.js")).render;
  }
}
