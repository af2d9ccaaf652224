// The page: puts its parts together. What is needed at once is imported here, everything else when it is asked for.

import {Client} from "../../client.js";
import {Composer} from "./chat/composer.js";
import {Transcript, runningCount} from "./chat/view.js";
import {ask, button, byId, fill, h, money, newId, perMillion, thousands, toast} from "./lib/dom.js";
import {openStore, settings, token} from "./lib/store.js";
import {Follower} from "./render/scroll.js";

const ROOT = new URL("../../", import.meta.url).href;
const SHOWS = [
  ["think aloud", "reasoner", "Why is the sky blue?"],
  ["format", "markdown", "Show me everything that you can format."],
  ["call a tool", "tools", "What is the weather in Lisbon?"],
  ["cite", "search", "the blue of the sky"],
  ["paint", "painter", "A blue sky"],
  ["long answer", "long", "Count to two thousand."],
  ["no credits", "no-credits", "Something dear, please."],
  ["break in the middle", "breaks", "Count until you break."],
  ["hang up", "hangs-up", "Count until you hang up."],
  ["stall", "stalls", "Count until you fall silent."],
];
const NEWER = "Conversations were kept here by a newer version of this page, which this one cannot read: they are left as they are. What is asked now ends with this page.";
const EXAMPLES = ["Why is the sky blue?", "Write a haiku about streams of events.", "Explain server-sent events in a table."];

class App {
  client = new Client({baseURL: ROOT, token: () => token.get()});
  follower = new Follower(byId("transcript"), byId("to-end"));
  /** What formats answers, once it is there. @type {any} */ format = null;
  /** The model in the catalogue. @type {any} */ facts = null;
  /** Sessions that ended, for the inspector. @type {Map<string, any>} */ logs = new Map();
  model = "";
  pending = "";
  /** Conversations that were deleted here. @type {Set<string>} */ deleted = new Set();
  money = money;
  /** Panels that are open and want to hear of events. @type {Record<string, any>} */ panels = {};
  /** @type {any} */ health = {};
  /** @type {any} */ store;
  #asked = null;
  #sums = 0;

  async start() {
    this.#takeToken();
    this.store = await openStore();
    this.composer = new Composer(this);
    this.transcript = new Transcript(this);
    this.applyTheme();
    this.#listen();
    const health = this.client.get("health").catch(() => ({}));
    this.#loadFormat(document.documentElement.dataset.format === "yes");
    this.health = await health;
    this.model = this.#usable(settings.get("model"));
    if (this.health.sandbox) this.#banner("Sandbox: nothing here costs money. Answers come from a stand-in inside the server.");
    if (!this.store.isKept) toast(this.store.isNewer ? NEWER : "This browser keeps nothing here (a private window?): conversations end with this page. Save what you need.");
    await this.#openByHash();
    await Promise.all([this.loadModel(), this.spent()]);
    this.composer.focus();
    document.documentElement.dataset.ready = "yes";
  }

  // -- conversations --------------------------------------------------------------------------------------------

  /** The model, or the one to begin with: the sandbox knows its own only, and nobody else knows those. @param {string | undefined} model */
  #usable(model) {
    const {sandbox, default_model: first = ""} = this.health;
    if (model && (sandbox === undefined || model.startsWith("sandbox/") === sandbox)) return model;
    return sandbox ? "sandbox/reasoner" : first;
  }

  #empty() {
    return {id: newId(), title: "", createdMs: Date.now(), updatedMs: Date.now(), model: this.model, draft: "", options: {}};
  }

  /** @param {string} [id] */
  async openConversation(id) {
    const conversation = (id && (await this.store.get("conversations", id))) || this.#empty();
    if (conversation.model && id) this.model = this.#usable(conversation.model);
    if (this.transcript.conversation !== conversation) await this.transcript.open(conversation);
    settings.set("conversation", conversation.id);
    this.composer.set(conversation.draft ?? "");
    this.composer.showOptions();
    this.#showModel();
    if (id) this.loadModel();
  }

  newConversation() {
    this.showChat();
    history.replaceState(null, "", location.pathname + location.search);
    return this.openConversation();
  }

  keepConversation() {
    const {conversation} = this.transcript;
    if (!this.transcript.messages.length && !conversation.draft) return;
    Object.assign(conversation, {updatedMs: Date.now(), model: this.model});
    this.keep("conversations", conversation);
    this.panels.list?.();
  }

  /** Keeps a record; when the browser refuses, that is said and nothing is deleted. @param {string} store @param {any} record */
  async keep(store, record) {
    if (this.deleted.has(record.conversation ?? record.id)) return; // an answer may end after its conversation
    try {
      await this.store.put(store, record);
      if (store === "messages" && record.n >= 5 && !settings.get("persist")) {
        settings.set("persist", true);
        navigator.storage?.persist?.();
      }
    } catch (error) {
      if (this.#asked === error.name) return;
      this.#asked = error.name;
      toast(`This browser refuses to keep more (${error.name}): nothing was deleted, but what comes now ends with this page. Save conversations, then delete some.`);
    }
  }

  draft(text) {
    const {conversation} = this.transcript ?? {};
    if (!conversation || conversation.draft === text) return;
    conversation.draft = text;
    this.keepConversation();
  }

  /** The server has taken the question. @param {any} conversation */
  began(conversation) {
    if (conversation === this.transcript.conversation) this.composer.clear(this.pending);
    else if (conversation.draft?.trim() === this.pending) conversation.draft = "";
  }

  /** Something began or ended. */
  changed() {
    this.composer.update();
    document.title = `${runningCount() ? "● " : ""}${this.transcript.conversation?.title || "openrouter-sse-backend"}`;
  }

  async stop() {
    const {session} = this.transcript;
    if (!session || session.isStopping) return;
    const stopping = session.stop();
    this.composer.update();
    await stopping.catch((error) => toast(`The answer could not be stopped: ${error.message}`));
  }

  // -- models -----------------------------------------------------------------------------------------------------

  /** @param {string} id */
  useModel(id) {
    this.model = id;
    settings.set("model", id);
    this.keepConversation();
    this.#showModel();
    return this.loadModel();
  }

  async loadModel() {
    const {model} = this;
    let facts = null;
    try {
      facts = model ? (await this.client.models.get(model)).data : null;
    } catch (error) {
      if (error.type === "unauthorized") this.askToken(error.message);
    }
    if (model !== this.model) return;
    this.facts = facts;
    this.#showModel();
    this.composer.showOptions();
    this.composer.update();
  }

  #showModel() {
    const {facts} = this;
    const [, maker, name] = /^(.*\/)?(.*)$/.exec(this.model || "no model") ?? [];
    fill(byId("model-name"), maker && h("span", {class: "wide-only"}, maker), name);
    byId("model-facts").textContent = facts?.id === this.model ? `${perMillion(facts.pricing?.prompt)}/${perMillion(facts.pricing?.completion)} · ${thousands(facts.context_length)}` : "";
    byId("open-models").title = "The model; prices in USD per million tokens, in and out; context";
  }

  // -- what was spent -------------------------------------------------------------------------------------------

  async spent() {
    const mine = ++this.#sums;
    const today = new Date().toISOString().slice(0, 10);
    const usage = await this.client.usage({from: today, to: today}).catch((error) => (error.type === "unauthorized" ? this.askToken(error.message) && null : null));
    if (!usage || mine !== this.#sums) return; // what is asked later knows more
    const {budget} = usage;
    const used = budget ? Math.min(1, (budget.spent_usd + budget.reserved_usd) / (budget.limit_usd || 1)) : 0;
    const told = budget ? `spent ${money(budget.spent_usd)}, reserved ${money(budget.reserved_usd)} of ${money(budget.limit_usd)}; resets ${budget.resets_at}` : "";
    const isEstimate = usage.data.some((row) => row.unsettled);
    fill(byId("today"), h("span", {class: "wide-only"}, "today "), isEstimate && "≤ ", money(usage.total_cost_usd), budget && [" ", h("meter", {value: used, max: 1, high: 0.8, "aria-label": "Budget", title: told})]);
    byId("today").title = `Spent today (UTC)${told && `: ${told}`}; opens usage`;
  }

  // -- the token ----------------------------------------------------------------------------------------------------

  #takeToken() {
    const [, given] = /^#token=(.+)$/.exec(location.hash) ?? [];
    if (!given) return;
    token.set(decodeURIComponent(given), false);
    history.replaceState(null, "", location.pathname + location.search);
  }

  /** Asks for a token, once at a time. @param {string} told @returns {Promise<boolean>} */
  askToken(told) {
    this.tokenDialog ??= ask("A token of this server", (close) => {
      const field = h("input", {type: "password", id: "token", autocomplete: "current-password", required: true});
      const keeps = h("input", {type: "checkbox", id: "token-keep"});
      const submit = (event) => {
        event.preventDefault();
        token.set(field.value.trim(), keeps.checked);
        close("given");
      };
      return [
        h("p", {}, told),
        h("form", {onSubmit: submit}, h("input", {class: "unseen", autocomplete: "username", value: location.host, tabIndex: -1, "aria-hidden": "true"}), h("p", {}, h("label", {htmlFor: "token"}, "Token"), field), h("p", {}, keeps, " ", h("label", {htmlFor: "token-keep"}, "Keep it on this device")), h("p", {}, h("button", {type: "submit", class: "main"}, "Use it"))),
      ];
    }).then((value) => {
      this.tokenDialog = null;
      if (value !== "given") return false;
      this.loadModel();
      this.spent();
      return true;
    });
    return this.tokenDialog;
  }

  // -- views --------------------------------------------------------------------------------------------------------

  async openPicker(query = {}) {
    const {openPicker} = await import("./panels/picker.js");
    const id = await openPicker(this, query);
    if (id) await this.useModel(id);
    this.composer.focus();
  }

  async openEvents(session, message) {
    const {openEvents} = await import("./panels/events.js");
    openEvents(this, session ?? this.transcript.session ?? null, message);
  }

  async openCode(body) {
    const {openCode} = await import("./panels/code.js");
    await openCode(this, body, ROOT);
  }

  showChat() {
    for (const id of ["transcript", "composer"]) byId(id).hidden = false;
    byId("usage").hidden = true;
  }

  async #openByHash() {
    const {hash} = location;
    if (hash === "#usage") {
      if (!this.transcript.conversation) await this.openConversation(settings.get("conversation"));
      const {showUsage} = await import("./panels/usage.js");
      for (const id of ["transcript", "composer", "to-end"]) byId(id).hidden = true;
      await showUsage(this, byId("usage"));
      return;
    }
    this.showChat();
    const [, id] = /^#c=(\w+)$/.exec(hash) ?? [];
    if (id || !this.transcript.conversation) await this.openConversation(id ?? settings.get("conversation"));
  }

  /** What an empty conversation shows. @param {Element} box */
  welcome(box) {
    const buttons = this.health.sandbox
      ? SHOWS.map(([label, model, text]) => button(label, () => this.#show(model, text)))
      : EXAMPLES.map((text) => button(text, () => this.#send(text)));
    const told = this.health.sandbox ? "One button for each thing to see:" : "Ask something:";
    fill(box, h("section", {class: "welcome"}, h("h2", {}, "What would you like to see?"), h("p", {class: "quiet"}, told), h("p", {class: "row shows"}, buttons)));
  }

  async #show(model, text) {
    await this.useModel(`sandbox/${model}`);
    if (model === "tools" && !this.transcript.conversation.options.tools) this.transcript.conversation.options.tools = JSON.stringify([{type: "function", function: {name: "get_weather", description: "The weather in a city", parameters: {type: "object", properties: {city: {type: "string"}}, required: ["city"]}}}], null, 1);
    this.composer.showOptions();
    await this.#send(text);
  }

  async #send(text) {
    this.composer.set(text);
    this.pending = text;
    await this.transcript.send({text});
  }

  applyTheme() {
    document.documentElement.dataset.theme = settings.get("theme", "auto");
  }

  #banner(text) {
    byId("banner").textContent = text;
    byId("banner").hidden = false;
  }

  /** @param {boolean} isThere */
  async #loadFormat(isThere) {
    if (!isThere) {
      const path = await this.#lookForFormat();
      if (!path) return;
    }
    const {load} = await import("./render/blocks.js");
    this.format = await load();
    if (this.transcript.messages.length) this.transcript.repaint();
  }

  /** Where answers cannot be formatted, one line says what would help; what is built meanwhile is taken. */
  async #lookForFormat() {
    const {format} = await this.client.get("assets/format.json").catch(() => ({format: null}));
    if (format) return format;
    const hint = h("p", {class: "hint quiet"}, "Answers are shown as plain text; ", h("code", {}, "bash scripts/build-web"), " in the server's folder makes them formatted.");
    byId("composer").append(hint);
    return null;
  }

  #listen() {
    byId("open-models").addEventListener("click", () => this.openPicker());
    byId("open-events").addEventListener("click", () => this.openEvents());
    byId("open-list").addEventListener("click", async () => (await import("./panels/list.js")).toggleList(this));
    byId("open-settings").addEventListener("click", async () => (await import("./panels/settings.js")).openSettings(this));
    addEventListener("hashchange", () => this.#openByHash());
    addEventListener("keydown", (event) => this.#key(event));
    for (const name of ["keydown", "pointerdown"]) addEventListener(name, loadRest, {once: true, passive: true});
    byId("main").addEventListener("click", () => this.panels.list && matchMedia("(max-width: 54rem)").matches && byId("list").close());
  }

  async #key(event) {
    const withControl = event.ctrlKey || event.metaKey;
    const key = event.key.toLowerCase();
    if (event.isComposing) return;
    if (key === "escape" && !document.querySelector("dialog[open]:modal") && this.transcript.session) return this.stop();
    if (!withControl) return;
    const actions = {
      k: () => this.openPicker(),
      "shift+o": () => this.newConversation(),
      "shift+e": () => this.openEvents(),
      "/": async () => (await import("./panels/settings.js")).openKeys(),
    };
    const action = actions[`${event.shiftKey && key !== "/" ? "shift+" : ""}${key}`];
    if (!action || (key === "k" && document.querySelector("dialog:modal"))) return;
    event.preventDefault();
    action();
  }
}

/** What is needed later, so that it is there when the server is not. */
let isRestLoaded = false;
const loadRest = () => {
  if (isRestLoaded) return;
  isRestLoaded = true;
  const load = () => Promise.all([import("./panels/picker.js"), import("./panels/events.js"), import("./panels/list.js"), import("./panels/settings.js"), import("./panels/code.js"), import("./panels/usage.js")]).catch(() => {});
  setTimeout(load, 1000);
};

await new App().start();
