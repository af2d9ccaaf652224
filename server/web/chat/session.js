// An answer while it comes: reads the stream into a record that can be kept, notes every event for the inspector, finds
// out what it cost. Knows no element of the page.

import {ChatError} from "../../../client.js";

const SETTLE_MS = [2000, 4000, 8000, 16_000, 30_000];
const MOST_EVENTS = 20_000;
/** Attempts after which a server of which nothing was heard is said to be away; the key makes asking again safe. */
const MOST_UNHEARD = 3;
const UNHEARD = "Nothing was heard of the server. What you wrote is kept; old conversations can be read.";
/** Connections that all tabs together hold; browsers have six for a host (HTTP/1.1), and pages need some. */
const PLACES = 4;
const VISIT_MS = 400;
const BETWEEN_VISITS_MS = 5000;
const BURST_MS = 40;
const FADE_MS = 6000;

/** A new answer. @param {string} key @param {string} model */
export const newAnswer = (key, model) => ({
  key,
  model,
  provider: null,
  content: "",
  reasoning: "",
  refusal: "",
  calls: [],
  annotations: [],
  images: [],
  audio: [],
  details: [],
  usage: null,
  error: null,
  finishReason: null,
  completed: null,
  lastEventId: "",
  state: "running", // running, ended, gone (the server has it no more), failed (nothing of it came)
  cost: null, // {usd} | {sought: true} | {unknown: true} | {notFound: true}
  startedMs: Date.now(),
  firstMs: null,
  thoughtMs: null,
  endedMs: null,
});

/** @param {string} url of `data:` @returns {Blob} */
const blobOf = (url) => {
  const [, type = "application/octet-stream", base64, data] = /^data:([^;,]*)[^,]*?(;base64)?,(.*)$/s.exec(url) ?? [];
  const binary = base64 ? atob(data) : decodeURIComponent(data ?? "");
  return new Blob([Uint8Array.from(binary, (letter) => letter.charCodeAt(0))], {type});
};

/** Takes one event into the record. @param {any} answer @param {{type: string, data: any, id: string}} event */
export const take = (answer, {type, data, id}) => {
  answer.lastEventId = id;
  if (type === "content" || type === "reasoning" || type === "refusal") {
    answer.firstMs ??= Date.now();
    if (type !== "reasoning" && answer.reasoning) answer.thoughtMs ??= Date.now() - answer.firstMs;
    answer[type] += data.text;
  } else if (type === "start") {
    answer.model = data.model ?? answer.model;
    answer.provider = data.provider;
  } else if (type === "tool_call_delta") {
    answer.firstMs ??= Date.now();
    const call = (answer.calls[data.index] ??= {index: data.index, id: "", name: "", arguments: "", complete: null});
    if (data.id) call.id = data.id;
    if (data.name) call.name = data.name;
    call.arguments += data.arguments;
  } else if (type === "tool_call") {
    answer.calls[data.index] = {...data};
  } else if (type === "annotation") {
    answer.annotations.push(data);
  } else if (type === "image") {
    const url = data.image_url?.url ?? data.url ?? "";
    answer.images.push(url.startsWith("data:") ? {blob: blobOf(url)} : {url});
  } else if (type === "audio") {
    answer.audio.push({data: data.data ?? "", transcript: data.transcript ?? ""});
  } else if (type === "reasoning_details") {
    answer.details = data.reasoning_details;
  } else if (type === "usage") {
    answer.usage = data;
  } else if (type === "error") {
    answer.error = data;
  } else if (type === "done") {
    answer.finishReason = data.finish_reason;
    answer.completed = data.completed;
    answer.endedMs = Date.now();
  }
};

/** Raw samples of the format that models stream: 24,000 a second, one channel, 16 bits. @param {Uint8Array[]} parts */
const wavOf = (parts) => {
  const size = parts.reduce((sum, part) => sum + part.length, 0);
  const head = new DataView(new ArrayBuffer(44));
  const text = (at, letters) => [...letters].forEach((letter, index) => head.setUint8(at + index, letter.charCodeAt(0)));
  text(0, "RIFF");
  head.setUint32(4, 36 + size, true);
  text(8, "WAVEfmt ");
  head.setUint32(16, 16, true);
  head.setUint16(20, 1, true);
  head.setUint16(22, 1, true);
  head.setUint32(24, 24_000, true);
  head.setUint32(28, 48_000, true);
  head.setUint16(32, 2, true);
  head.setUint16(34, 16, true);
  text(36, "data");
  head.setUint32(40, size, true);
  return new Blob([head, .../** @type {any[]} */ (parts)], {type: "audio/wav"});
};

/** The pieces of speech as one file, as text never kept. @param {any[]} pieces @param {string} format */
const soundOf = (pieces, format) => {
  const parts = pieces.filter(({data}) => data).map(({data}) => Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0)));
  const transcript = pieces.map((piece) => piece.transcript).join("");
  const blob = format.startsWith("pcm") ? wavOf(parts) : new Blob(parts, {type: `audio/${format}`});
  return {blob, transcript};
};

/** Reads one answer to its end. */
export class Session {
  /** What the inspector shows: events, and marks where the connection was cut. @type {any[]} */ log = [];
  /** The line about the connection. @type {{kind: string, [more: string]: any} | null} */ connection = null;
  /** Proofs of what was resumed. @type {{at: number, afterMs: number, waited: number, lost: number, twice: number}[]} */ cuts = [];
  isStopping = false;
  /** Whether the server has taken the question. */ isAccepted = false;
  /** Whether it looks now and then only: other tabs hold as many connections as a browser should. */ isVisiting = false;
  status = 0;
  #number = 0;
  #changed = new Set();
  #cutMs = 0;
  #leaving = new AbortController();
  #release = () => {};

  /** @param {any} client @param {any} answer @param {any} body null: it is resumed */
  constructor(client, answer, body) {
    this.client = client;
    this.answer = answer;
    this.body = body;
    this.startMs = performance.now();
    this.#number = Number(answer.lastEventId.split(":")[1] ?? 0);
    const {signal} = this.#leaving;
    this.chat = body && !answer.lastEventId
      ? client.chat(body, {idempotencyKey: answer.key, signal})
      : client.resume(answer.key, {lastEventId: answer.lastEventId, signal});
    this.chat.on("reconnecting", ({delayMs, times}) => this.#lost(delayMs, times));
    this.chat.on("state", (state) => {
      if (state === "open") this.#opened();
    });
    this.chat.on("reconnected", () => {
      if (this.isVisiting) return;
      this.connection = {kind: "back", number: this.#number, waited: 0};
      this.#tell();
    });
  }

  /** @param {() => void} listener */
  onChange(listener) {
    this.#changed.add(listener);
    return () => this.#changed.delete(listener);
  }

  /** Reads until the end, whatever that is. */
  async run() {
    const {answer, chat} = this;
    this.isVisiting = !(await this.#takePlace());
    try {
      for await (const event of chat) this.#take(event);
      if (answer.completed === null) await this.#readResult(); // everything was read already, by another tab
    } catch (error) {
      this.#fail(error);
    }
    answer.state = answer.state === "running" ? "ended" : answer.state;
    answer.endedMs ??= Date.now();
    if (answer.audio.length) answer.sound = soundOf(answer.audio.splice(0), this.body?.audio?.format ?? "pcm16");
    this.#release();
    this.connection = null;
    if (answer.usage && answer.usage.total_cost !== undefined) answer.cost = answer.usage.total_cost === null ? {unknown: true} : {usd: answer.usage.total_cost};
    else if (answer.state === "ended") answer.cost = {sought: true};
    this.#tell();
  }

  /** Ends the answer at the server. */
  async stop() {
    this.isStopping = true;
    this.#tell();
    await this.chat.stop();
  }

  /** Asks until the server knows what a cut answer did cost. */
  async settle() {
    const {answer} = this;
    for (const ms of SETTLE_MS) {
      if (!answer.cost?.sought) return;
      await new Promise((resolve) => setTimeout(resolve, ms));
      const usage = await this.client.get(`chat/${answer.key}/result`).then((result) => result.usage, () => undefined);
      if (usage?.settled) answer.cost = usage.total_cost === null || usage.total_cost === undefined ? {notFound: true} : {usd: usage.total_cost};
      if (usage?.settled && usage.prompt_tokens !== undefined) answer.usage = usage;
    }
    if (answer.cost?.sought) answer.cost = {notFound: true};
    this.#tell();
  }

  /** Cuts the connection on purpose. @param {number} ms */
  cut(ms) {
    this.chat.reconnect(ms);
  }

  #opened() {
    this.isAccepted = true;
    if (this.isVisiting) this.#visit();
    this.#tell();
  }

  /** One of the few places for connections that all tabs share; without locks (plain HTTP) nobody counts. @returns {Promise<boolean>} */
  #takePlace() {
    if (!navigator.locks) return Promise.resolve(true);
    return new Promise((resolve) => {
      let left = PLACES;
      for (let place = 0; place < PLACES; place++) {
        navigator.locks.request(`connection ${place}`, {ifAvailable: true}, (lock) => {
          left--;
          if (!lock || this.#hasPlace) return left || this.#hasPlace || resolve(false);
          this.#hasPlace = true;
          resolve(true);
          return new Promise((release) => (this.#release = () => release(undefined)));
        });
      }
    });
  }

  #hasPlace = false;

  /** Reads what there is and leaves for a while; looks whether there is a place by then. */
  #visit() {
    setTimeout(async () => {
      if (this.answer.completed !== null) return;
      this.isVisiting = !(await this.#takePlace());
      if (this.isVisiting) this.chat.reconnect(BETWEEN_VISITS_MS);
      this.#tell();
    }, VISIT_MS);
  }

  #take(event) {
    const number = Number(event.id.slice(event.id.lastIndexOf(":") + 1));
    const cut = this.cuts.at(-1);
    if (cut) {
      if (number <= this.#number) cut.twice++;
      else cut.lost += number - this.#number - 1;
      if (!cut.afterMs) cut.afterMs = performance.now() - this.#cutMs;
    }
    if (this.connection?.kind === "back") this.#countWaiting(this.connection);
    this.#number = number;
    take(this.answer, event);
    const text = JSON.stringify(event.data);
    this.log.push({n: number, ms: performance.now() - this.startMs, type: event.type, size: text.length, text});
    if (this.log.length > MOST_EVENTS) this.log.shift();
    this.#tell();
  }

  /** What comes at once when the connection is back had been waiting; the line about it goes after a while. */
  #countWaiting(line) {
    if (!line.waited) {
      setTimeout(() => (line.isCounted = true), BURST_MS);
      setTimeout(() => {
        if (this.connection !== line) return;
        this.connection = null;
        this.#tell();
      }, FADE_MS);
    }
    if (!line.isCounted) line.waited++;
  }

  #lost(delayMs, times) {
    if (this.answer.completed !== null || this.isVisiting) return;
    this.#cutMs = performance.now();
    if (times === 1) {
      this.cuts.push({at: this.#number, afterMs: 0, waited: 0, lost: 0, twice: 0});
      this.log.push({mark: this.cuts.at(-1), ms: this.#cutMs - this.startMs});
    }
    if (times > MOST_UNHEARD && !this.answer.lastEventId) this.#leaving.abort(new ChatError({error: UNHEARD, type: "connection_lost", retryable: true}));
    this.connection = {kind: "lost", untilMs: Date.now() + delayMs};
    this.#tell();
  }

  async #readResult() {
    const result = await this.client.get(`chat/${this.answer.key}/result`);
    Object.assign(this.answer, {
      content: result.content ?? "",
      reasoning: result.reasoning ?? "",
      usage: result.usage?.total_cost === undefined ? null : result.usage,
      error: result.error ?? null,
      finishReason: result.finish_reason,
      completed: !result.error && !["cancelled", "abandoned", "interrupted"].includes(result.finish_reason),
    });
  }

  #fail(error) {
    const {answer} = this;
    const hasText = answer.content || answer.reasoning || answer.calls.length;
    const isGone = error instanceof ChatError && error.type === "not_found" && (hasText || !this.body);
    answer.state = isGone ? "gone" : "failed";
    answer.completed = false;
    answer.error = error instanceof ChatError ? {...error, error: error.message} : {error: String(error.message ?? error), type: "page", status: 0, retryable: true};
  }

  #tell() {
    for (const listener of this.#changed) listener();
  }
}
