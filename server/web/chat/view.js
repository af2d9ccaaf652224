// The conversation in view: its messages, the answers that come, and what can be done with them.

import {button, byId, fill, h, newId, say, toast} from "../lib/dom.js";
import {settings} from "../lib/store.js";
import {AnswerView, userView} from "./answer.js";
import {buildBody, problems, shown} from "./request.js";
import {Session, newAnswer} from "./session.js";

/** Messages that are shown; earlier ones on demand, so that ten thousand open as fast as forty. */
const AT_ONCE = 40;
/** Answers whose events are held for the inspector. */
const MOST_LOGS = 20;
/** How old a question may be of which the server knows nothing, to be asked again under its key. */
const REPOST_MS = 20_000;

/** Every answer that comes in this tab, by its key, also of conversations that are not in view. @type {Map<string, Session>} */
const running = new Map();

export class Transcript {
  #app;
  #box = byId("transcript");
  /** @type {Map<string, any>} */ #views = new Map();
  #isPlanned = false;
  #opening = Promise.resolve();
  #lastMs = 0;
  #channel = "BroadcastChannel" in globalThis ? new BroadcastChannel("openrouter-sse-backend") : null;

  constructor(app) {
    this.#app = app;
    /** @type {any} */ this.conversation = null;
    /** @type {any[]} */ this.messages = [];
    setInterval(() => this.#tick(), 1000);
    addEventListener("pagehide", () => this.#keepRunning());
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#keepRunning() : this.#paint()));
    this.#channel?.addEventListener("message", ({data}) => this.#heard(data));
  }

  /** Whether an answer comes in the conversation in view. @returns {Session | undefined} */
  get session() {
    const message = this.messages.at(-1);
    return message?.versions && running.get(shown(message).key);
  }

  /** Shows a conversation; answers that did not end are read on. @param {any} conversation */
  open(conversation) {
    return (this.#opening = this.#open(conversation));
  }

  async #open(conversation) {
    this.conversation = conversation;
    conversation.options ??= {};
    const messages = await this.#app.store.of(conversation.id);
    if (this.conversation !== conversation) return;
    this.messages = messages.sort((a, b) => a.n - b.n);
    for (const message of messages) if (message.versions) message.versions = message.versions.map((answer) => running.get(answer.key)?.answer ?? {...newAnswer(answer.key, answer.model), startedMs: 0, ...answer}); // an older page kept fewer fields
    this.#render(Math.max(0, messages.length - AT_ONCE));
    this.#app.follower.toEnd();
    const last = this.messages.at(-1);
    if (last?.versions && shown(last).state === "running" && !running.has(shown(last).key)) this.#resume(last);
    for (const message of this.messages) if (message.versions && shown(message).cost?.sought && !running.has(shown(message).key)) this.#settle(message);
    this.#app.changed();
  }

  #render(from) {
    this.#views.clear();
    const earlier = from > 0 && button(`Show earlier messages (${from})`, () => {
      const height = this.#box.scrollHeight;
      this.#render(Math.max(0, from - 200));
      this.#box.scrollTop = this.#box.scrollHeight - height;
    }, {class: "earlier"});
    fill(this.#box, earlier, ...this.messages.slice(from).map((message) => this.#viewOf(message)));
    if (!this.messages.length) this.#app.welcome(this.#box);
  }

  #viewOf(message) {
    if (!message.versions) return userView(this.#app, message, this.#actions);
    const view = new AnswerView(this.#app, message, this.#actions);
    view.session = running.get(shown(message).key) ?? view.session;
    if (view.session) view.update();
    this.#views.set(message.id, view);
    return view.element;
  }

  /** Asks. @param {{text?: string, files?: any[], extra?: any, results?: any[]}} what @returns {Promise<boolean>} whether it was taken */
  async send({text = "", files = [], extra, results}) {
    await this.#opening; // or what is sent would belong to the conversation before
    const {conversation} = this;
    const wrong = Object.entries(problems(conversation.options));
    if (wrong.length) {
      toast(wrong.map(([name, told]) => `${name} ${told}`).join("; "));
      return false;
    }
    if (!conversation.title) conversation.title = text.slice(0, 60) || files[0]?.name || "Untitled";
    if (!this.messages.length) this.#box.replaceChildren();
    const message = results ? {role: "tool", results} : {role: "user", text, files, extra};
    await this.#add(message);
    await this.#answer();
    return true;
  }

  async #add(message) {
    Object.assign(message, {id: newId(), conversation: this.conversation.id, n: (this.messages.at(-1)?.n ?? 0) + 1, sentMs: Date.now()});
    this.messages.push(message);
    this.#box.append(this.#viewOf(message));
    await this.#app.keep("messages", message);
    this.#app.keepConversation();
  }

  async #answer() {
    const answer = newAnswer(newId(), this.#app.model);
    await this.#add({role: "assistant", version: 0, versions: [answer]});
    this.#app.follower.toEnd();
    await this.#start(this.messages.at(-1));
  }

  /** The body that was, or is to be, sent for an answer. @param {any} message */
  bodyOf(message) {
    const {options} = this.conversation;
    return buildBody(this.messages.slice(0, this.messages.indexOf(message)), {model: shown(message).asked ?? shown(message).model, options, graceS: settings.get("graceS", 60)});
  }

  async #start(message) {
    const answer = shown(message);
    answer.asked ??= answer.model;
    let body;
    try {
      body = await this.bodyOf(message);
    } catch (error) {
      Object.assign(answer, {state: "failed", error: {error: String(error), type: "page", status: 0}});
      return this.#changed(message);
    }
    await this.#run(message, new Session(this.#app.client, answer, body));
  }

  async #run(message, session) {
    const {answer} = session;
    const {conversation} = this;
    running.set(answer.key, session);
    const view = this.#views.get(message.id);
    if (view) view.session = session;
    let hasBegun = false;
    let isTaken = false;
    let state = "";
    session.onChange(() => {
      if (!hasBegun && answer.lastEventId) {
        hasBegun = true;
        say("answer begins");
      }
      if (!isTaken && session.isAccepted) {
        isTaken = true;
        this.#app.began(conversation);
      }
      const now = session.connection?.kind ?? "";
      if (now !== state) say(now === "lost" ? "connection lost" : now === "back" ? "went on" : "");
      state = now;
      this.#plan();
      this.#app.panels?.events?.(session);
    });
    this.#app.changed();
    await this.#app.keep("messages", message);
    await session.run();
    if (session.status === 401 || answer.error?.type === "unauthorized") {
      this.#app.askToken(answer.error.error).then((isGiven) => isGiven && this.#actions.again(message));
    }
    running.delete(answer.key);
    this.#app.logs.set(answer.key, session);
    if (this.#app.logs.size > MOST_LOGS) this.#app.logs.delete(this.#app.logs.keys().next().value);
    this.#paint();
    const words = answer.content.split(/\s+/).filter(Boolean).length;
    if (answer.error?.details && conversation === this.conversation) this.#app.composer.mark(answer.error.details);
    if (!answer.error) say(answer.finishReason === "cancelled" ? "stopped" : `answer complete, ${words} words`);
    this.#app.changed();
    await this.#changed(message);
    this.#app.spent();
    if (answer.cost?.sought) this.#settle(message, session);
  }

  async #settle(message, session = new Session(this.#app.client, shown(message), null)) {
    await session.settle();
    await this.#changed(message);
    this.#app.spent();
  }

  async #resume(message) {
    const answer = shown(message);
    const isYoung = !answer.lastEventId && Date.now() - answer.startedMs < REPOST_MS;
    await this.#run(message, new Session(this.#app.client, answer, isYoung ? await this.bodyOf(message) : null));
  }

  async #changed(message) {
    this.#views.get(message.id)?.update();
    this.#app.follower.settle();
    await this.#app.keep("messages", message);
    this.#channel?.postMessage({changed: message.conversation});
  }

  /** Another tab has written to the conversation that is in view here. */
  async #heard({changed}) {
    if (changed !== this.conversation?.id || this.session) return;
    await this.open(this.conversation);
  }

  // -- painting -----------------------------------------------------------------------------------------------------

  /** Once a frame, and a fifth of the time at most; hidden pages get no frames, and are painted once a second. */
  #plan() {
    if (this.#isPlanned || document.hidden) return;
    this.#isPlanned = true;
    const wait = 4 * this.#lastMs;
    const frame = () => requestAnimationFrame(() => ((this.#isPlanned = false), this.#paint()));
    if (wait > 16) setTimeout(frame, wait);
    else frame();
  }

  #paint() {
    const began = performance.now();
    for (const [id, view] of this.#views) if (view.session) this.#update(id, view);
    this.#app.follower.settle();
    this.#lastMs = performance.now() - began;
  }

  #update(id, view) {
    view.update();
    if (!running.has(view.session.answer.key) && !view.session.answer.cost?.sought) this.#views.get(id).session = view.session.cuts.length ? view.session : null;
  }

  #tick() {
    if (!running.size) return;
    this.#paint();
    this.#keepRunning();
  }

  #keepRunning() {
    for (const message of this.messages) if (message.versions && running.has(shown(message).key)) this.#app.keep("messages", message);
  }

  /** With what formats now: everything anew. */
  repaint() {
    const shownCount = this.#box.querySelectorAll("article").length;
    this.#render(Math.max(0, this.messages.length - Math.max(AT_ONCE, shownCount)));
    this.#app.follower.settle();
  }

  // -- what can be done with a message ----------------------------------------------------------------------------

  #actions = {
    isLast: (message) => message === this.messages.at(-1),
    again: async (message) => {
      if (this.session) return;
      await this.#cutAfter(message);
      const last = shown(message);
      if (["connection_lost", "unauthorized"].includes(last.error?.type) && !last.lastEventId) {
        // under the same key: if the server did hear of it after all, nothing is asked or paid twice
        Object.assign(last, newAnswer(last.key, last.asked ?? last.model));
        return this.#start(message);
      }
      message.versions.push(newAnswer(newId(), this.#app.model));
      message.version = message.versions.length - 1;
      this.#views.get(message.id)?.update();
      await this.#start(message);
    },
    turn: (message, by) => {
      message.version += by;
      this.#changed(message);
    },
    goOn: async () => {
      if (!this.session) await this.send({text: "Continue."});
    },
    sendResults: (results) => this.send({results}),
    edit: async (message) => {
      if (this.session) return;
      const index = this.messages.indexOf(message);
      for (const gone of this.messages.splice(index)) await this.#app.store.remove("messages", gone.id);
      this.#render(Math.max(0, this.messages.length - AT_ONCE));
      this.#app.composer.set(message.text, message.files ?? []);
    },
    dropOldest: async (message) => {
      let count = Math.max(1, Math.floor(this.messages.indexOf(message) / 2));
      while (this.messages[count]?.role !== "user" && this.messages[count + 1] !== message) count++; // what is left begins with a question
      for (const gone of this.messages.splice(0, count)) await this.#app.store.remove("messages", gone.id);
      this.#render(0);
      await this.#actions.again(message);
    },
    pick: (query) => this.#app.openPicker(query),
    useModel: (id, message) => {
      this.#app.useModel(id);
      this.#actions.again(message);
    },
    token: async (error, again) => {
      if (await this.#app.askToken(error.error)) again();
    },
    events: async (message) => {
      const {key} = shown(message);
      const session = running.get(key) ?? this.#app.logs.get(key) ?? (await this.#replay(message));
      if (session) this.#app.openEvents(session, message);
    },
    code: async (message) => {
      const {key} = shown(message);
      this.#app.openCode((running.get(key) ?? this.#app.logs.get(key))?.body ?? (await this.bodyOf(message)));
    },
  };

  /** The events of an answer from before the page was opened, as long as the server has them. */
  async #replay(message) {
    const session = new Session(this.#app.client, newAnswer(shown(message).key, ""), null);
    await session.run();
    if (session.answer.state === "ended") return session;
    toast("The server no longer has the events of this answer.");
    return null;
  }

  async #cutAfter(message) {
    for (const gone of this.messages.splice(this.messages.indexOf(message) + 1)) await this.#app.store.remove("messages", gone.id);
    this.#render(Math.max(0, this.messages.length - AT_ONCE));
  }
}

/** How many answers come in this tab. */
export const runningCount = () => running.size;
