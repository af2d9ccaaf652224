// Shows one answer, whole or while it comes: thinking, text, refusal, tools, sources, pictures, an error, what it cost.

import {append, button, bytes, copy, duration, fill, h, money, newId, safeLink, save} from "../lib/dom.js";
import {errorCard} from "./errors.js";
import {PlainRenderer} from "../render/plain.js";

const REASONS = {
  stop: "complete",
  length: "cut at max_tokens",
  tool_calls: "calls a tool",
  content_filter: "filtered by the provider",
  error: "ended by an error",
  cancelled: "stopped by you",
  abandoned: "stopped: nobody was reading",
  interrupted: "cut off",
  shutting_down: "cut off: the server restarted",
};

/** Text that is rendered as it grows. */
class Growing {
  #element;
  #renderer;
  #app;
  #isFormatted = false;
  #length = -1;

  constructor(app, element) {
    this.#app = app;
    this.#element = element;
    this.#renderer = new PlainRenderer(element);
  }

  /** @param {string} text @param {boolean} isWhole */
  update(text, isWhole) {
    const {format} = this.#app;
    if (format && !this.#isFormatted) {
      this.#isFormatted = true;
      this.#element.replaceChildren();
      this.#renderer = new format.BlockRenderer(this.#element, this.#app.follower);
      this.#length = -1;
    }
    if (isWhole) {
      if (this.#length !== Infinity) this.#renderer.finish(text);
      this.#length = Infinity;
    } else if (text.length !== this.#length) {
      this.#renderer.update(text);
      this.#length = text.length;
    }
  }
}

export class AnswerView {
  #app;
  #message;
  #actions;
  #parts = /** @type {Record<string, any>} */ ({});
  #seen = /** @type {Record<string, any>} */ ({});
  #isTouched = false;
  #answer = null;
  /** Runs while it does. @type {any} */ session = null;

  /** @param {any} app @param {any} message @param {Record<string, (...more: any[]) => any>} actions */
  constructor(app, message, actions) {
    this.#app = app;
    this.#message = message;
    this.#actions = actions;
    this.element = h("article", {class: "message answer"});
    this.update();
  }

  /** Paints what has changed. */
  update() {
    const answer = this.#message.versions[this.#message.version];
    if (this.#answer !== answer) this.#build(answer);
    const parts = this.#parts;
    const isRunning = answer.state === "running";
    this.element.setAttribute("aria-busy", String(isRunning));
    this.#once("who", answer.model, (model) => {
      parts.who.textContent = model;
      this.element.setAttribute("aria-label", model);
    });
    this.#think(answer);
    if (answer.content || parts.body.textContent) parts.text.update(answer.content, !isRunning);
    parts.waiting.hidden = !isRunning || Boolean(answer.content || answer.reasoning || answer.calls.length);
    this.#once("refusal", answer.refusal, (text) => {
      parts.refusal.hidden = !text;
      parts.refusal.textContent = text;
    });
    this.#once("calls", JSON.stringify(answer.calls) + isRunning, () => this.#calls(answer));
    this.#once("sources", `${answer.annotations.length} ${isRunning}`, () => this.#sources(answer));
    this.#once("sound", Boolean(answer.sound), () => fill(parts.sound, answer.sound && this.#sound(answer)));
    this.#once("images", answer.images.length, () => fill(parts.images, ...answer.images.map((image) => this.#image(image, answer))));
    this.#connection();
    this.#once("error", JSON.stringify([answer.error, answer.state, isRunning]), () => this.#error(answer));
    const ended = [isRunning, answer.cost, answer.finishReason, this.#message.versions.length, this.#message.version, this.session?.isStopping];
    this.#once("footer", JSON.stringify(ended), () => this.#footer(answer));
  }

  #once(name, value, paint) {
    if (this.#seen[name] === value) return;
    this.#seen[name] = value;
    paint(value);
  }

  #build(answer) {
    this.#answer = answer;
    this.#seen = {};
    this.#isTouched = false;
    /** @type {Record<string, any>} */
    const parts = (this.#parts = {
      who: h("h2", {class: "who"}),
      thinking: h("div", {class: "body", dir: "auto"}),
      thought: h("summary"),
      body: h("div", {class: "body", dir: "auto"}),
      waiting: h("p", {class: "waiting quiet"}, "Waiting for the first word…"),
      refusal: h("p", {class: "refusal", hidden: true, dir: "auto"}),
      calls: h("div"),
      sources: h("div"),
      images: h("div", {class: "images"}),
      sound: h("div"),
      connection: h("p", {class: "connection quiet"}),
      error: h("div"),
      footer: h("footer"),
    });
    parts.details = h("details", {class: "thinking", hidden: true}, parts.thought, parts.thinking);
    parts.thought.addEventListener("click", () => (this.#isTouched = true));
    parts.text = new Growing(this.#app, parts.body);
    parts.thoughts = new Growing(this.#app, parts.thinking);
    fill(this.element, parts.who, parts.details, parts.waiting, parts.body, parts.refusal, parts.calls, parts.images, parts.sound, parts.sources, parts.connection, parts.error, parts.footer);
  }

  #think(answer) {
    const {details, thought, thoughts} = this.#parts;
    details.hidden = !answer.reasoning;
    if (!answer.reasoning) return;
    const isThinking = answer.state === "running" && answer.thoughtMs === null;
    const ms = answer.thoughtMs ?? (answer.endedMs ?? Date.now()) - (answer.firstMs ?? Date.now());
    const seconds = Math.max(1, Math.round(ms / 1000));
    this.#once("thought", `${isThinking} ${seconds}`, () => (thought.textContent = isThinking ? `Thinking… ${seconds} s` : `Thought for ${seconds} s`));
    if (details.open && !isThinking && this.#app.follower.isRead(details)) this.#isTouched = true; // it would go from under the eyes
    if (!this.#isTouched && details.open !== isThinking) this.#app.follower.keepPlace(() => (details.open = isThinking));
    thoughts.update(answer.reasoning, !isThinking);
  }

  #calls(answer) {
    const canPlay = answer.state !== "running" && this.#actions.isLast(this.#message);
    const whole = answer.calls.filter((call) => call?.complete);
    const fields = new Map();
    const send = () => {
      const results = whole.map(({id, name}) => ({id, name, content: fields.get(id).value}));
      const empty = results.find(({content}) => !content.trim());
      if (empty) return fields.get(empty.id).focus();
      this.#actions.sendResults(results);
    };
    const boxes = answer.calls.filter(Boolean).map((call) => {
      const id = `r-${newId().slice(0, 8)}`;
      let text = call.arguments;
      try {
        text = JSON.stringify(JSON.parse(call.arguments), null, 2);
      } catch {
        // still coming, or cut
      }
      const state = call.complete === false ? "cut: do not run" : call.complete ? "" : "arriving…";
      const field = h("textarea", {id, rows: 2, placeholder: '{"result": …}'});
      fields.set(call.id, field);
      return h(
        "section",
        {class: `call ${call.complete === false ? "cut" : ""}`, "aria-label": `Tool call ${call.name}`},
        h("p", {class: "row"}, h("strong", {}, `${call.name || "…"}()`), " ", h("span", {class: "quiet"}, state)),
        h("pre", {class: "code", tabIndex: 0, role: "group", "aria-label": `Arguments of ${call.name}`}, h("code", {}, text)),
        canPlay && call.complete && [h("label", {htmlFor: id}, `You are the tool: what does ${call.name} answer?`), field],
      );
    });
    const cut = answer.calls.some((call) => call?.complete === false);
    fill(this.#parts.calls, ...boxes, canPlay && whole.length > 0 && !cut && h("p", {}, button(whole.length > 1 ? `Send ${whole.length} results` : "Send result", send)));
  }

  #sources(answer) {
    const cited = answer.annotations.map((each) => each.url_citation ?? each).filter((each) => each.url || each.title);
    if (!cited.length) return fill(this.#parts.sources);
    const items = cited.map(({url, title}) => {
      const href = safeLink(url ?? "");
      const host = href ? new URL(href).host : "";
      return h("li", {}, href ? h("a", {href, target: "_blank", rel: "noopener noreferrer"}, title || href) : (title ?? String(url)), " ", h("span", {class: "quiet"}, host));
    });
    fill(this.#parts.sources, h("section", {class: "sources", "aria-label": "Sources"}, h("h3", {}, "Sources"), h("ol", {}, items)));
    if (answer.state === "running") return;
    const links = cited.map(({url}) => safeLink(url ?? ""));
    this.#linkNumbers(links);
  }

  /** `[1]` in the text leads to the first source. */
  #linkNumbers(links) {
    const walker = document.createTreeWalker(this.#parts.body, NodeFilter.SHOW_TEXT);
    const texts = [];
    while (walker.nextNode()) if (!walker.currentNode.parentElement?.closest("a, pre, code, .math")) texts.push(walker.currentNode);
    for (const node of texts) {
      const pieces = (node.nodeValue ?? "").split(/(\[\d{1,3}\])/);
      if (pieces.length < 2) continue;
      const nodes = pieces.filter(Boolean).map((piece) => {
        const href = /^\[\d+\]$/.test(piece) ? links[Number(piece.slice(1, -1)) - 1] : null;
        return href ? h("a", {href, target: "_blank", rel: "noopener noreferrer", class: "cite"}, piece) : piece;
      });
      /** @type {Text} */ (node).replaceWith(...nodes);
    }
  }

  #image(image, answer) {
    const alt = `image made by ${answer.model}`;
    if (!image.blob) {
      const href = safeLink(image.url);
      return href ? h("p", {}, h("a", {href, target: "_blank", rel: "noopener noreferrer"}, `An image elsewhere: ${href}`)) : h("p", {}, "An image with an address that is none.");
    }
    const src = URL.createObjectURL(image.blob);
    const name = `image.${image.blob.type.split("/")[1]?.replace(/\W.*/, "") || "png"}`;
    return h("figure", {}, h("img", {src, alt}), h("figcaption", {}, button(`Save (${bytes(image.blob.size)})`, () => save(name, image.blob))));
  }

  #sound({sound, model}) {
    const src = URL.createObjectURL(sound.blob);
    const name = `speech.${sound.blob.type.split("/")[1]?.replace(/\W.*/, "") || "wav"}`;
    return [h("audio", {controls: true, src, "aria-label": `speech of ${model}`}), h("p", {}, button(`Save (${bytes(sound.blob.size)})`, () => save(name, sound.blob))), sound.transcript && h("p", {dir: "auto"}, sound.transcript)];
  }

  #connection() {
    const line = this.session?.connection;
    const {connection} = this.#parts;
    if (this.session?.isVisiting && this.#answer.state === "running") {
      return this.#once("connection", "visits", () => fill(connection, "Many answers come at once in this browser: this one is looked at every few seconds. HTTP/2 in front of the server has room for all."));
    }
    if (!line) return this.#once("connection", "", () => fill(connection, this.#proof()));
    if (line.kind === "lost") {
      const seconds = Math.max(0, Math.ceil((line.untilMs - Date.now()) / 1000));
      this.#once("connection", `lost ${seconds}`, () => fill(connection, `Connection lost, trying again in ${seconds} s `, button("now", () => this.session.chat.reconnect())));
    } else {
      this.#once("connection", `back ${line.number} ${line.waited}`, () => fill(connection, `Went on after event ${line.number}, ${line.waited} events were waiting. `, this.#proof()));
    }
  }

  #proof() {
    return (this.session?.cuts ?? []).filter(({afterMs}) => afterMs).map(({at, afterMs, lost, twice}) => h("span", {class: "proof"}, `✂ cut at ${at}, resumed after ${(afterMs / 1000).toFixed(1)} s, ${lost} lost, ${twice} twice `));
  }

  #error(answer) {
    if (!answer.error && answer.state !== "gone") return fill(this.#parts.error);
    fill(this.#parts.error, errorCard(this.#app, answer, this.#message, this.#actions));
  }

  #footer(answer) {
    const message = this.#message;
    if (answer.state === "running") return fill(this.#parts.footer);
    const usage = answer.usage;
    const cost = answer.cost?.sought ? "cost being looked up…" : answer.cost?.unknown ? "cost unknown" : answer.cost?.notFound ? "cost not known" : answer.cost ? money(answer.cost.usd) : null;
    const words = [
      answer.provider,
      cost,
      usage?.prompt_tokens !== undefined && `${usage.prompt_tokens} → ${usage.completion_tokens} tokens`,
      usage?.tokens_per_second && `${Math.round(usage.tokens_per_second)}/s`,
      usage?.time_to_first_token_ms !== undefined && usage.time_to_first_token_ms !== null && `first after ${duration(usage.time_to_first_token_ms)}`,
      answer.finishReason && (REASONS[answer.finishReason] ?? answer.finishReason),
    ];
    const count = message.versions.length;
    const move = (by) => button(by < 0 ? "‹" : "›", () => this.#actions.turn(message, by), {"aria-label": by < 0 ? "Earlier answer" : "Later answer", disabled: !message.versions[message.version + by]});
    fill(
      this.#parts.footer,
      h("p", {class: "facts quiet"}, words.filter(Boolean).join(" · ")),
      h(
        "p",
        {class: "row actions"},
        count > 1 && h("span", {class: "versions"}, move(-1), ` ${message.version + 1} / ${count} `, move(1)),
        (answer.content || answer.refusal) && button("Copy", () => copy(answer.content || answer.refusal, "Answer"), {title: "The Markdown of the answer"}),
        button("Try again", () => this.#actions.again(message)),
        answer.content && this.#actions.isLast(message) && button("Continue", () => this.#actions.goOn(message)),
        button("Events", () => this.#actions.events(message)),
        button("Copy as code", () => this.#actions.code(message)),
      ),
    );
  }
}

/** What the person said. @param {any} app @param {any} message @param {Record<string, any>} actions */
export const userView = (app, message, actions) => {
  const files = (message.files ?? []).map((file) =>
    file.type.startsWith("image/")
      ? h("img", {class: "thumb", src: URL.createObjectURL(file.blob), alt: file.name})
      : h("span", {class: "chip"}, `${file.name} (${bytes(file.blob.size)})`),
  );
  const element = h("article", {class: "message user", "aria-label": "You"}, h("h2", {class: "who"}, "You"));
  if (message.role === "tool") {
    const results = message.results.map(({name, content}) => h("div", {class: "call"}, h("p", {}, h("strong", {}, `${name} answered`)), h("pre", {class: "code", tabIndex: 0, role: "group", "aria-label": `Result of ${name}`}, h("code", {}, content))));
    append(element, results);
    return element;
  }
  append(element, [
    h("div", {class: "body plain", dir: "auto"}, message.text),
    files.length > 0 && h("div", {class: "files"}, files),
    h("p", {class: "row actions"}, button("Edit", () => actions.edit(message)), button("Copy", () => copy(message.text, "Question"))),
  ]);
  return element;
};
