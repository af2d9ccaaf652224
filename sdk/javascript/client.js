// Client of openrouter-sse-backend: typed events that survive lost connections. MIT licence; docs: README.md beside it.

/** @typedef {import("./events.js").ChatEvent} ChatEvent */
/** @typedef {import("./events.js").ChatRequest} ChatRequest */
/** @typedef {import("./events.js").Failure} Failure */

/** A refusal of the server, with every field of its error shape. */
export class ChatError extends Error {
  /** @param {Partial<Failure> & {error: string, type: string}} failure */
  constructor(failure) {
    super(failure.error);
    this.name = "ChatError";
    /** @type {string} */ this.type = failure.type;
    /** @type {number} */ this.status = failure.status ?? 0;
    /** @type {boolean} */ this.retryable = failure.retryable ?? false;
    /** @type {number | undefined} */ this.retry_after_s = failure.retry_after_s;
    Object.assign(this, failure);
  }
}

/** Text to server-sent events, by the rules of https://html.spec.whatwg.org/#event-stream-interpretation */
export class SSEDecoder {
  #rest = "";
  #afterCR = false;
  #type = "";
  /** @type {string[]} */ #data = [];
  #id = "";

  /** Takes the next piece; gives the events that it completes. @param {string} text */
  feed(text) {
    /** @type {{type: string, data: string, id: string}[]} */
    const events = [];
    const ends = /\r\n?|\n/g;
    let start = this.#afterCR && text[0] === "\n" ? 1 : 0;
    if (text) this.#afterCR = text.endsWith("\r");
    ends.lastIndex = start;
    for (let end; (end = ends.exec(text)); start = ends.lastIndex) {
      const line = this.#rest + text.slice(start, end.index);
      this.#rest = "";
      if (line) this.#field(line);
      else {
        if (this.#data.length) events.push({type: this.#type || "message", data: this.#data.join("\n"), id: this.#id});
        this.#type = "";
        this.#data = [];
      }
    }
    this.#rest += text.slice(start);
    return events;
  }

  /** @param {string} line */
  #field(line) {
    const [, name, value = ""] = /** @type {string[]} */ (/^([^:]*)(?:: ?([^]*))?$/.exec(line));
    if (name === "data") this.#data.push(value);
    if (name === "event") this.#type = value;
    if (name === "id" && !value.includes("\0")) this.#id = value;
  }
}

/** @param {number} ms */
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
/** @param {number} times */
const backoffMs = (times) => Math.min(10_000, 250 * 2 ** times) * (0.5 + Math.random() / 2);
const newKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (n) => n.toString(16).padStart(2, "0")).join("");
/** @param {string} text @returns {any} */
const parsed = (text) => {
  try {
    return JSON.parse(text);
  } catch {
    return text; // of a server that is newer than this
  }
};
const READER_GONE = new Error("cut");

/**
 * One answer: an async iterable of `{type, data, id}`, read once. `break` only leaves it; `stop()` ends it.
 * @implements {AsyncIterable<ChatEvent>}
 */
export class Chat {
  /** The text so far. */ content = "";
  /** The thinking so far. */ reasoning = "";
  /** @type {any} */ usage = null;
  /** @type {string | null} */ finishReason = null;
  /** Whether the answer is whole; null until that was told. @type {boolean | null} */ completed = null;
  /** What an `error` event held. @type {Failure | null} */ error = null;
  /** @type {"connecting" | "open" | "waiting" | "closed"} */ state = "connecting";
  /** How often a lost connection was replaced. */ reconnects = 0;
  #client;
  #body;
  #signal;
  #number;
  #hasHead;
  #isPulled = false;
  #isRead = false;
  #retryAfterMs = 0;
  /** @type {Map<string, Set<(detail: any) => void>>} */ #listeners = new Map();
  /** Cuts the connection, or ends the wait for the next one. @type {(delayMs?: number) => void} */ #interrupt = () => {};
  /** @type {Promise<void>} */ #ended;
  #end = () => {};
  /** @type {AsyncGenerator<ChatEvent>} */ #events;

  /** @param {Client} client @param {ChatRequest | null} body @param {string} id @param {ChatOptions} options */
  constructor(client, body, id, {signal, lastEventId = ""}) {
    this.id = id;
    this.lastEventId = lastEventId;
    this.#client = client;
    this.#body = body;
    this.#signal = signal;
    this.#hasHead = !body;
    this.#number = Number(lastEventId.split(":")[1] ?? 0);
    this.#ended = new Promise((resolve) => (this.#end = resolve));
    this.#events = this.#read();
  }

  [Symbol.asyncIterator]() {
    return this.#events;
  }

  /** Calls `listener` at every `state`, `reconnecting` or `reconnected`; returns what ends that. @param {"state" | "reconnecting" | "reconnected"} name @param {(detail: any) => void} listener */
  on(name, listener) {
    const all = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, all.add(listener));
    return () => void all.delete(listener);
  }

  /** The rest of the text, when the answer has ended. */
  async text() {
    for await (const _ of this);
    if (this.error) throw new ChatError(this.error);
    return this.content;
  }

  /** The whole answer as one JSON, when it has ended. @returns {Promise<any>} */
  async result() {
    for await (const _ of this);
    return this.#client.get(`chat/${this.id}/result`);
  }

  /** Ends the answer at the server and stops its bill; resolves when it has ended there. */
  async stop() {
    for (let times = 0; this.state !== "closed"; times++) {
      try {
        await this.#client.ask("DELETE", `chat/${this.id}`);
        break;
      } catch (error) {
        const isEarly = error instanceof ChatError && error.status === 404 && !this.#hasHead && this.#isPulled;
        if (error instanceof ChatError && !isEarly && error.status < 500) {
          if (error.status !== 404) throw error;
          await this.#events.return(undefined); // nothing was asked yet, or it is gone
          this.#to("closed");
          return;
        }
        if (times >= this.#client.maxRetries) throw error;
        await sleep(backoffMs(times) / (isEarly ? 10 : 1));
      }
    }
    if (this.state === "waiting") this.reconnect();
    if (this.#isPulled) await this.#ended; // a reader between two events may be waiting for us
  }

  /** Replaces the connection after `delayMs`; while one is waited for, that ends at once. */
  reconnect(delayMs = 0) {
    this.#interrupt(delayMs);
  }

  /** @returns {AsyncGenerator<ChatEvent>} */
  async *#read() {
    let failures = 0;
    try {
      while (!this.#isRead) {
        const since = Date.now();
        /** @type {number | undefined} */ let asked;
        const connection = new AbortController();
        const leave = () => connection.abort(READER_GONE);
        this.#interrupt = (delayMs) => ((asked = delayMs), leave());
        this.#signal?.addEventListener("abort", leave);
        try {
          this.#signal?.throwIfAborted();
          this.#isPulled = true;
          if (failures === 0) this.#to("connecting");
          for await (const event of this.#connect(connection, failures > 0)) {
            failures = 0;
            this.#isPulled = false;
            yield event;
            this.#isPulled = true;
          }
          if (this.#isRead) return;
          throw READER_GONE; // an end without `done` is a lost connection
        } catch (error) {
          this.#signal?.throwIfAborted();
          if (error instanceof ChatError) throw error;
          if (failures >= this.#client.maxRetries) {
            const told = "The server cannot be reached: " + /** @type {Error} */ (error).message;
            throw Object.assign(new ChatError({error: told, type: "connection_lost", retryable: true}), {cause: error});
          }
        } finally {
          this.#signal?.removeEventListener("abort", leave);
          leave();
        }
        const delayMs = asked ?? (this.#retryAfterMs || backoffMs(failures));
        this.#retryAfterMs = 0;
        failures++;
        this.#tell("reconnecting", {delayMs, times: failures, afterMs: Date.now() - since});
        this.#to("waiting");
        await this.#wait(delayMs, asked !== undefined);
      }
    } finally {
      this.#isPulled = false;
      this.#to("closed");
      this.#end();
    }
  }

  /** The events of one connection, none of them twice. @param {AbortController} connection @param {boolean} isAgain @returns {AsyncGenerator<ChatEvent>} */
  async *#connect(connection, isAgain) {
    const {idleTimeoutMs} = this.#client;
    /** @type {any} */ let timer;
    /** @template T @param {Promise<T>} promise */
    const inTime = async (promise) => {
      timer = setTimeout(() => connection.abort(READER_GONE), idleTimeoutMs);
      try {
        return await promise;
      } finally {
        clearTimeout(timer);
      }
    };
    const asked = Date.now();
    const response = await inTime(this.#open(connection.signal));
    if (response.status === 204 || !response.body) return void (this.#isRead = true); // to the end, by somebody
    this.#hasHead = true;
    this.id = response.headers.get("X-Stream-Id") ?? this.id;
    this.#to("open");
    if (isAgain) {
      this.reconnects++;
      this.#tell("reconnected", {lastEventId: this.lastEventId, afterMs: Date.now() - asked});
    }
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    connection.signal.addEventListener("abort", () => reader.cancel().catch(() => {})); // Deno leaves some reads waiting
    const decoder = new SSEDecoder();
    for (let part; !(part = await inTime(reader.read())).done; ) {
      for (const {type, data, id} of decoder.feed(part.value)) {
        const number = Number(id.slice(id.lastIndexOf(":") + 1));
        if (number <= this.#number) continue;
        this.#number = number;
        this.lastEventId = id;
        const event = /** @type {ChatEvent} */ ({type, data: parsed(data), id});
        this.#note(event);
        yield event;
        if (type === "done") return;
      }
    }
  }

  /** @param {AbortSignal} signal */
  async #open(signal) {
    const id = this.lastEventId;
    /** @type {Record<string, string>} */ const headers = {Accept: "text/event-stream"};
    if (this.#hasHead && id) headers["Last-Event-ID"] = id;
    if (!this.#hasHead) headers["Idempotency-Key"] = this.id;
    try {
      const [method, path] = this.#hasHead ? ["GET", `chat/${this.id}`] : ["POST", "chat"];
      return await this.#client.ask(method, path, {headers, signal, body: this.#hasHead ? undefined : this.#body});
    } catch (error) {
      if (!(error instanceof ChatError)) throw error;
      const isOurs = error.type !== "http_error";
      if (isOurs ? !this.#hasHead || !error.retryable : error.status < 500) throw error;
      this.#retryAfterMs = (error.retry_after_s ?? 0) * 1000;
      throw new Error(error.message);
    }
  }

  /** @param {ChatEvent} event */
  #note({type, data}) {
    if (type === "content") this.content += data.text;
    if (type === "reasoning") this.reasoning += data.text;
    if (type === "usage") this.usage = data;
    if (type === "error") this.error = data;
    if (type === "done") [this.finishReason, this.completed, this.#isRead] = [data.finish_reason, data.completed, true];
  }

  /** Until the time has come, or the network has, or somebody looks. @param {number} ms @param {boolean} isExact */
  async #wait(ms, isExact) {
    const ended = new AbortController();
    await new Promise((resolve) => {
      const {signal} = ended;
      const done = () => resolve(undefined);
      const timer = setTimeout(done, ms);
      signal.addEventListener("abort", () => clearTimeout(timer));
      this.#interrupt = done;
      this.#signal?.addEventListener("abort", done, {signal});
      if (isExact) return;
      globalThis.addEventListener?.("online", done, {signal});
      globalThis.document?.addEventListener("visibilitychange", () => document.hidden || done(), {signal});
    });
    ended.abort();
  }

  /** @param {Chat["state"]} state */
  #to(state) {
    if (this.state === state && state !== "connecting") return;
    this.state = state;
    this.#tell("state", state);
  }

  /** @param {string} name @param {any} detail */
  #tell(name, detail) {
    for (const listener of this.#listeners.get(name) ?? []) listener(detail);
  }
}

/** @typedef {{signal?: AbortSignal, idempotencyKey?: string, lastEventId?: string}} ChatOptions */
/** @typedef {{baseURL?: string, token?: string | (() => string | undefined | Promise<string | undefined>), fetch?: typeof fetch, idleTimeoutMs?: number, maxRetries?: number}} ClientOptions */

/** A server. */
export class Client {
  #token;
  #fetch;

  /** @param {ClientOptions} options */
  constructor({baseURL, token, fetch = globalThis.fetch, idleTimeoutMs = 45_000, maxRetries = 8} = {}) {
    const here = import.meta.url.startsWith("http") ? new URL(".", import.meta.url).href : "http://localhost:8000/";
    this.baseURL = (baseURL ?? here).replace(/\/*$/, "/");
    this.#token = token;
    this.#fetch = fetch;
    this.idleTimeoutMs = idleTimeoutMs;
    this.maxRetries = maxRetries;
  }

  /** Asks a model; nothing is sent before the first event is wanted. @param {ChatRequest | string} body @param {ChatOptions} options */
  chat(body, options = {}) {
    const request = typeof body === "string" ? {message: body} : body;
    const chat = new Chat(this, request, options.idempotencyKey ?? newKey(), options);
    return chat;
  }

  /** Reads an answer, after an event or from its beginning. @param {string} id @param {ChatOptions} options */
  resume(id, options = {}) {
    return new Chat(this, null, id, options);
  }

  models = {
    /** @param {Record<string, any>} query */ search: (query = {}) => this.get("models/search", query),
    /** @param {string} id */ get: (id) => this.get(`models/${id}`),
  };

  /** What was spent, by day. @param {{from?: string, to?: string}} days */
  usage(days = {}) {
    return this.get("usage", days);
  }

  /** Any other route. @param {string} path @param {Record<string, any>} query @param {AbortSignal} [signal] @returns {Promise<any>} */
  async get(path, query = {}, signal) {
    const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== "");
    return (await this.ask("GET", given.length ? `${path}?${new URLSearchParams(given)}` : path, {signal})).json();
  }

  /** One request. @param {string} method @param {string} path @param {{headers?: Record<string, string>, body?: any, signal?: AbortSignal}} options @returns {Promise<Response>} */
  async ask(method, path, {headers = {}, body, signal} = {}) {
    const token = typeof this.#token === "function" ? await this.#token() : this.#token;
    if (token) headers.Authorization = `Bearer ${token}`;
    if (body) headers["Content-Type"] = "application/json";
    const fetch = this.#fetch; // browsers' own wants no other `this`
    const response = await fetch(this.baseURL + path, {method, headers, body: body && JSON.stringify(body), signal});
    if (!response.ok) throw new ChatError(await failureOf(response));
    return response;
  }
}

/** The error of a refusal: JSON, or the first event of a stream; of a proxy neither. @param {Response} response */
async function failureOf(response) {
  const text = await response.text();
  const [event] = new SSEDecoder().feed(text);
  const after = Number(response.headers.get("Retry-After")) || undefined;
  try {
    const failure = JSON.parse(event?.type === "error" ? event.data : text);
    if (failure.type) return {status: response.status, retry_after_s: after, ...failure};
  } catch {}
  return {error: `The server answered ${response.status}.`, type: "http_error", status: response.status, retry_after_s: after};
}
