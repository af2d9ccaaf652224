// Shows an answer as plain text with fenced code set apart: until what formats it has been loaded, or where it is not there.
// Text only grows, so only what is new is looked at.

import {h} from "../lib/dom.js";

const FENCE = /^ {0,3}(`{3,}|~{3,})(.*)$/;

export class PlainRenderer {
  #element;
  #length = 0;
  #line = "";
  /** The text node that grows. @type {Text | null} */ #text = null;
  /** The fence that is open. */ #fence = "";

  /** @param {Element} element */
  constructor(element) {
    this.#element = element;
  }

  /** @param {string} text all that has come; it begins with what came before */
  update(text) {
    const fresh = text.slice(this.#length);
    this.#length = text.length;
    let start = 0;
    for (let end; (end = fresh.indexOf("\n", start)) >= 0; start = end + 1) {
      this.#line += fresh.slice(start, end);
      this.#take(this.#line);
      this.#line = "";
    }
    this.#line += fresh.slice(start);
    if (this.#line && !/^ {0,3}([`~]|$)/.test(this.#line)) this.#show();
  }

  finish(text) {
    this.update(text);
    if (this.#line) this.#show();
  }

  /** What of the last line is not on the screen yet. */
  #shown = 0;

  #show() {
    this.#write(this.#line.slice(this.#shown));
    this.#shown = this.#line.length;
  }

  #take(line) {
    const [, marks, language] = FENCE.exec(line) ?? [];
    const closes = this.#fence && marks?.startsWith(this.#fence) && !language.trim();
    if (this.#shown || !(closes || (marks && !this.#fence))) {
      this.#write(`${line.slice(this.#shown)}\n`);
    } else if (closes) {
      this.#fence = "";
      this.#text = null;
    } else {
      this.#fence = marks;
      this.#text = document.createTextNode("");
      this.#element.append(h("pre", {class: "code", tabIndex: 0, "aria-label": "Code", role: "group"}, h("code", {}, this.#text)));
    }
    this.#shown = 0;
  }

  #write(text) {
    if (!this.#text) {
      this.#text = document.createTextNode("");
      this.#element.append(h("div", {class: "plain"}, this.#text));
    }
    this.#text.appendData(text);
  }
}
