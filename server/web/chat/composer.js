// Where a message is written, with what may stand beside it. Typing goes on while an answer comes; sending waits.

import {append, button, byId, bytes, fill, h, newId, toast} from "../lib/dom.js";
import {modalityOf, sentBytes} from "./request.js";

const WEATHER = [
  {
    type: "function",
    function: {
      name: "get_weather",
      description: "The weather in a city",
      parameters: {type: "object", properties: {city: {type: "string"}, unit: {type: "string", enum: ["C", "F"]}}, required: ["city"]},
    },
  },
];
/** Name, label, kind of control, and the parameter that a model must list for it. @type {[string, string, any, string | null][]} */
const FIELDS = [
  ["temperature", "Temperature", {type: "number", min: 0, max: 2, step: 0.1}, "temperature"],
  ["max_tokens", "Most tokens", {type: "number", min: 1, step: 1}, "max_tokens"],
  ["reasoning_effort", "Reasoning effort", ["", "minimal", "low", "medium", "high"], "reasoning"],
  ["web_search", "Web search", "checkbox", null],
  ["providers", "Providers, in order", {type: "text", placeholder: "openai, azure"}, null],
];
const CUT_MS = 2000;
const isTouch = () => matchMedia("(pointer: coarse)").matches;

export class Composer {
  #app;
  #files = /** @type {any[]} */ ([]);
  #text;
  #send;
  #chips = h("div", {class: "files"});
  #next = h("span", {class: "quiet next"});
  #attach;
  #options;
  #cut;

  constructor(app) {
    this.#app = app;
    this.#text = h("textarea", {id: "message", rows: 1, placeholder: "Write a message…", "aria-label": "Message", onInput: () => app.draft(this.#text.value), onKeydown: (event) => this.#key(event), onPaste: (event) => this.#take(event.clipboardData?.files, event)});
    this.#send = h("button", {type: "submit", class: "main"}, "Send");
    const file = h("input", {type: "file", multiple: true, hidden: true, "aria-label": "Files", onChange: () => (this.#take(file.files), (file.value = ""))});
    this.#attach = button("+", () => file.click(), {"aria-label": "Attach files"});
    this.#cut = button("✂ Cut the connection", () => app.transcript.session?.cut(CUT_MS), {hidden: true, title: "Closes the connection for 2 s, to see it resumed"});
    this.#options = h("div", {class: "folds"});
    const form = h("form", {"aria-label": "Message", onSubmit: (event) => (event.preventDefault(), this.#submit())}, this.#chips, h("div", {class: "row end"}, this.#attach, file, this.#text, this.#send));
    fill(byId("composer"), this.#options, form);
    const drop = byId("main");
    drop.addEventListener("dragover", (event) => event.preventDefault());
    drop.addEventListener("drop", (event) => this.#take(event.dataTransfer?.files, event));
  }

  focus() {
    this.#text.focus();
  }

  /** Shows a draft. @param {string} text @param {any[]} [files] */
  set(text, files = []) {
    this.#text.value = text;
    this.#files = [...files];
    this.#showFiles();
    this.#app.draft(text);
    this.focus();
  }

  /** The draft was taken by the server. @param {string} sent */
  clear(sent) {
    if (this.#text.value.trim() !== sent) return; // something else was written meanwhile
    this.#text.value = "";
    this.#files = [];
    this.#showFiles();
    this.#app.draft("");
  }

  /** Follows what is going on. */
  update() {
    const {session} = this.#app.transcript;
    this.#send.textContent = !session ? "Send" : session.isStopping ? "Stopping…" : "Stop";
    this.#send.classList.toggle("stop", Boolean(session));
    this.#send.setAttribute("aria-disabled", String(Boolean(session?.isStopping))); // a disabled button would lose the focus
    this.#cut.hidden = !session || !this.#app.health.sandbox;
    const inputs = this.#app.facts?.architecture?.input_modalities ?? [];
    this.#attach.hidden = !inputs.some((each) => each !== "text");
    this.#attach.title = `Attach: ${inputs.filter((each) => each !== "text").join(", ")}`;
    this.#price();
  }

  /** The fold-outs, for the conversation in view. */
  showOptions() {
    const {conversation} = this.#app.transcript;
    const {options} = conversation;
    const keep = (name, value) => {
      options[name] = value;
      this.#app.keepConversation();
    };
    const area = (name, label, more = {}) => {
      const id = `o-${newId().slice(0, 8)}`;
      return [h("label", {htmlFor: id}, label), h("textarea", {id, "data-field": name, rows: 3, value: options[name] ?? "", spellcheck: false, onInput: (event) => keep(name, event.target.value), ...more})];
    };
    const supported = this.#app.facts?.supported_parameters;
    const fields = FIELDS.map(([name, label, kind, parameter]) => {
      const id = `o-${newId().slice(0, 8)}`;
      const isOff = parameter && supported && !supported.includes(parameter);
      const value = options[name];
      const more = {id, "data-field": name, disabled: isOff, onChange: (event) => keep(name, kind === "checkbox" ? event.target.checked : event.target.value)};
      const control = Array.isArray(kind)
        ? h("select", more, kind.map((each) => h("option", {value: each, selected: each === (value ?? "")}, each || "as the model likes")))
        : kind === "checkbox"
          ? h("input", {type: "checkbox", checked: Boolean(value), ...more})
          : h("input", {...kind, value: value ?? "", ...more});
      return h("p", {}, h("label", {htmlFor: id}, label), control, isOff && h("span", {class: "quiet"}, `${this.#app.model} does not list ${parameter}`));
    });
    const tools = area("tools", "Tool definitions, a JSON list");
    const offersTools = !supported || supported.includes("tools");
    fill(
      this.#options,
      fold("System", options.system?.trim(), area("system", "System prompt", {spellcheck: true})),
      fold("Parameters", ["temperature", "max_tokens", "reasoning_effort", "web_search", "providers", "extra"].some((name) => options[name]), h("div", {class: "grid"}, fields), area("extra", "Anything else, a JSON object")),
      fold("Tools", options.tools?.trim(), !offersTools && h("p", {class: "quiet"}, `${this.#app.model} does not list tools`), tools, h("p", {}, button("Example: weather", () => {
        tools[1].value = JSON.stringify(WEATHER, null, 1);
        keep("tools", tools[1].value);
      }))),
      this.#cut,
      this.#next,
    );
    this.#price();
  }

  /** Shows beside the fields what the server says of them. @param {{where: string, what: string}[]} details */
  mark(details) {
    for (const {where, what} of details) {
      const names = where.split(".").reverse();
      const field = names.map((name) => this.#options.querySelector(`[data-field="${CSS.escape(name)}"]`)).find(Boolean);
      if (!field) continue;
      field.closest("details").open = true;
      field.setAttribute("aria-invalid", "true");
      field.nextElementSibling?.matches(".told") && field.nextElementSibling.remove();
      field.after(h("span", {class: "told"}, what));
      field.addEventListener("input", () => (field.removeAttribute("aria-invalid"), field.nextElementSibling?.matches(".told") && field.nextElementSibling.remove()), {once: true});
    }
  }

  #price() {
    const usage = this.#app.transcript.messages.findLast?.((message) => message.versions?.[message.version].usage)?.versions;
    const tokens = usage ? (usage.at(-1).usage?.total_tokens ?? 0) : 0;
    const price = Number(this.#app.facts?.pricing?.prompt ?? NaN);
    this.#next.textContent = tokens && price >= 0 ? `next message costs at least ${this.#app.money(tokens * price)}` : "";
  }

  #key(event) {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229 || isTouch()) return;
    event.preventDefault();
    if (!this.#app.transcript.session) this.#submit();
  }

  async #submit() {
    const {transcript} = this.#app;
    if (transcript.session) return this.#app.stop();
    const text = this.#text.value.trim();
    if (!text && !this.#files.length) return this.focus();
    if (this.#isTooLarge(this.#files)) return;
    this.#app.pending = text;
    await transcript.send({text, files: this.#files});
  }

  /** Says it when the server would refuse what these files make of the request. @param {any[]} files */
  #isTooLarge(files) {
    const most = this.#app.health.max_body_bytes ?? Infinity;
    const size = sentBytes([...this.#app.transcript.messages, {files}]);
    if (size <= most) return false;
    const before = this.#app.transcript.messages.some((message) => message.files?.length) ? "The files of this conversation, which are sent with every question," : "Files";
    toast(`${before} would be ${bytes(size)} as they are sent; the server takes ${bytes(most)} (server.max_body_bytes).`);
    return true;
  }

  #take(list, event) {
    const files = [...(list ?? [])];
    if (!files.length) return;
    event?.preventDefault();
    const inputs = this.#app.facts?.architecture?.input_modalities ?? [];
    for (const file of files) {
      const type = file.type || "application/octet-stream";
      if (!inputs.includes(modalityOf(type))) toast(`${this.#app.model} does not read ${file.name} (${modalityOf(type)}).`);
      else if (!this.#isTooLarge([...this.#files, {blob: file}])) this.#files.push({name: file.name, type, blob: file});
    }
    this.#showFiles();
  }

  #showFiles() {
    const chips = this.#files.map((file) => h("span", {class: "chip"}, `${file.name} (${bytes(file.blob.size)}) `, button("×", () => {
      this.#files = this.#files.filter((each) => each !== file);
      this.#showFiles();
    }, {"aria-label": `Remove ${file.name}`})));
    fill(this.#chips, ...chips);
  }
}

const fold = (title, isUsed, ...contents) => {
  const details = h("details", {name: "fold"}, h("summary", {class: isUsed ? "used" : ""}, title, isUsed ? h("span", {class: "quiet"}, " (set)") : ""));
  append(details, [h("div", {class: "folded"}, ...contents)]);
  return details;
};
