// An error in the place of an answer: what the server says, and the button that helps.

import {button, fill, h} from "../lib/dom.js";

const WAITS = new Set(["rate_limited", "overloaded", "upstream_unavailable", "shutting_down"]);
const CUT = new Set(["stream_interrupted", "upstream_timeout", "connection_lost"]);
const AT_ONCE_S = 5;

/** @param {any} app @param {any} answer @param {any} message @param {Record<string, any>} actions */
export const errorCard = (app, answer, message, actions) => {
  const again = () => actions.again(message);
  if (answer.state === "gone") {
    return card("The server no longer has the rest", "What came of this answer stays here.", "not_found", [button("Ask again", again)]);
  }
  const error = answer.error;
  const ways = waysOut(app, error, answer, message, actions, again);
  const details = (error.details ?? []).map(({where, what}) => h("li", {}, h("code", {}, where), ` ${what}`));
  return card(titleOf(error), error.error, error.type, [...ways], details);
};

const titleOf = ({type, status}) => {
  if (type === "connection_lost" || (type === "page" && !status)) return "The server does not answer";
  return type === "unauthorized" ? "A token is needed" : "This did not work";
};

const card = (title, text, type, ways, details = []) =>
  h(
    "section",
    {class: "error", role: "alert"},
    h("h3", {}, title),
    h("p", {dir: "auto"}, text),
    details.length > 0 && h("ul", {}, details),
    h("p", {class: "row"}, ways, h("span", {class: "grow"}), h("code", {class: "quiet"}, type)),
  );

function* waysOut(app, error, answer, message, actions, again) {
  const {type} = error;
  if (type === "insufficient_credits") yield button("Pick a free model", () => actions.pick({free_only: true}));
  else if (WAITS.has(type)) yield countdown(error, again, message);
  else if (type === "too_many_requests") {
    if (error.retry_after_s) yield h("span", {}, `It resets in ${Math.ceil(error.retry_after_s)} s. `);
    yield h("a", {href: "#usage"}, "See what was spent");
  } else if (type === "context_length_exceeded") {
    yield button("Pick a larger model", () => actions.pick({min_context_length: 200_000}));
    yield button("Drop the oldest turns", () => actions.dropOldest(message));
  } else if (type === "model_not_found" || error.suggestions) {
    const place = h("span", {class: "row"});
    const offer = (ids) => fill(place, ...ids.map((id) => button(id, () => actions.useModel(id, message))));
    if (error.suggestions) offer(error.suggestions);
    else app.client.models.get(app.model).catch((refused) => offer(refused.suggestions ?? []));
    yield place;
    yield button("Pick another model", () => actions.pick({}));
  } else if (type === "unauthorized") yield button("Enter the token", () => actions.token(error, again));
  else if (type === "upstream_auth") yield h("span", {}, "Whoever runs this server must set OPENROUTER_API_KEY.");
  else if (CUT.has(type) && (answer.content || answer.reasoning)) yield button("Continue", () => actions.goOn(message));
  if (!WAITS.has(type)) yield button("Try again", again);
}

/** Tries again by itself, once for a question. */
const countdown = (error, again, message) => {
  const place = h("span", {class: "row"});
  const cancel = () => {
    clearInterval(timer);
    fill(place, button("Try again", again));
  };
  let left = Math.ceil(error.retry_after_s ?? AT_ONCE_S);
  const show = () => fill(place, h("span", {}, `Trying again in ${left} s `), button("Now", () => (cancel(), again())), button("Cancel", cancel));
  const timer = setInterval(() => {
    if (!place.isConnected && left < 1) return clearInterval(timer);
    if (--left > 0) return show();
    clearInterval(timer);
    if (place.isConnected) again();
  }, 1000);
  if (message.retried || message.versions.at(-1).endedMs < Date.now() - 60_000) cancel();
  else {
    message.retried = true;
    show();
  }
  return place;
};
