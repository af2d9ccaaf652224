// The inspector: the request as it was sent, and every event as it came, like a browser's network tab.

import {button, byId, bytes, copy, duration, fill, h, save} from "../lib/dom.js";

const ROWS = 300;
const CUT_MS = 2000;

/** Shows the events of an answer beside the conversation; closes when they are shown already. @param {any} app @param {any} session @param {any} [message] */
export const openEvents = (app, session, message) => {
  const dialog = byId("events");
  const opener = byId("open-events");
  const close = () => dialog.close();
  if (dialog.open) {
    close();
    if (!message) return;
  }
  /** @type {any} */ let current = session;
  let isPaused = false;
  let isRaw = false;
  let only = "";
  let painted = 0;
  const head = h("p", {class: "row"});
  const list = h("ol", {class: "events", tabIndex: 0, "aria-label": "Events, newest last"});
  const raw = h("pre", {class: "code raw", tabIndex: 0, role: "region", "aria-label": "Events as text", hidden: true});
  const types = h("select", {"aria-label": "Show", onChange: () => ((only = types.value), all())});
  const request = h("details", {}, h("summary", {}, "Request"), h("pre", {class: "code", tabIndex: 0, role: "region", "aria-label": "Request"}));
  const pause = button("Pause", () => {
    isPaused = !isPaused;
    pause.setAttribute("aria-pressed", String(isPaused));
    if (!isPaused) all();
  }, {"aria-pressed": "false"});
  const cut = button("✂ Cut the connection", () => current?.cut(CUT_MS), {title: "Closes the connection for 2 s, to see it resumed"});
  const lines = () => current?.log.filter((each) => !each.mark).map(({n, type, text}) => JSON.stringify({id: `${current.answer.key}:${n}`, event: type, data: JSON.parse(text)})).join("\n") ?? "";
  const wanted = () => (current?.log ?? []).filter((each) => each.mark || !only || each.type === only);
  const showRaw = button("Text", () => {
    isRaw = !isRaw;
    showRaw.setAttribute("aria-pressed", String(isRaw));
    list.hidden = isRaw;
    raw.hidden = !isRaw;
    all();
  }, {"aria-pressed": "false"});

  const row = (each) => {
    if (each.mark) {
      const {at, afterMs, lost, twice} = each.mark;
      return h("li", {class: "mark"}, afterMs ? `✂ cut at ${at}, resumed after ${(afterMs / 1000).toFixed(1)} s, ${lost} lost, ${twice} twice` : `✂ cut at ${at}`);
    }
    const details = h("details", {}, h("summary", {}, h("span", {class: "n"}, each.n), h("span", {class: "ms"}, duration(each.ms)), h("span", {title: bytes(each.size)}, each.type), h("span", {class: "quiet"}, each.text.slice(0, 200))));
    details.addEventListener("toggle", () => details.open && details.children.length < 2 && details.append(h("pre", {}, JSON.stringify(JSON.parse(each.text), null, 2))), {once: true});
    return h("li", {}, details);
  };
  const title = () => {
    const log = current?.log ?? [];
    const cuts = current?.cuts.length ?? 0;
    fill(head, h("strong", {}, "POST /chat"), h("span", {class: "quiet"}, current ? `${log.filter((each) => !each.mark).length} events, ${cuts} ${cuts === 1 ? "cut" : "cuts"}` : "Ask something to see its events."));
    cut.disabled = !current || current.answer.state !== "running";
  };
  const all = () => {
    title();
    if (isRaw) raw.textContent = lines();
    const found = wanted();
    fill(list, ...found.slice(-ROWS).map(row));
    painted = current?.log.length ?? 0;
    list.scrollTop = list.scrollHeight;
    const seen = [...new Set((current?.log ?? []).map((each) => each.type).filter(Boolean))];
    if (seen.length + 1 !== types.options.length) fill(types, h("option", {value: ""}, "all"), ...seen.map((type) => h("option", {value: type, selected: type === only}, type)));
    const pre = request.lastElementChild;
    pre.textContent = current?.body ? JSON.stringify(current.body, null, 2).slice(0, 100_000) : "";
  };
  let isPlanned = false;
  const follow = (session) => {
    if (session !== current && session.answer.state === "running") {
      current = session;
      painted = 0;
      return all();
    }
    if (session !== current || isPaused || isPlanned) return;
    isPlanned = true;
    setTimeout(() => {
      isPlanned = false;
      if (!dialog.open) return;
      if (isRaw || painted === 0) return all();
      title();
      const isAtEnd = list.scrollHeight - list.clientHeight - list.scrollTop < 40;
      const fresh = current.log.slice(painted);
      painted = current.log.length;
      list.append(...fresh.filter((each) => each.mark || !only || each.type === only).slice(-ROWS).map(row));
      while (list.children.length > ROWS) list.firstElementChild.remove();
      for (const mark of list.querySelectorAll(".mark")) {
        const [, at] = /cut at (\d+)/.exec(mark.textContent) ?? [];
        const known = current.log.find((each) => each.mark?.at === Number(at));
        if (known) mark.textContent = row(known).textContent;
      }
      if (isAtEnd) list.scrollTop = list.scrollHeight;
    }, 100);
  };
  fill(
    dialog,
    h("div", {class: "row"}, h("h2", {}, "Events"), h("span", {class: "grow"}), button("×", close, {"aria-label": "Close events"})),
    head,
    request,
    list,
    raw,
    h("p", {class: "row"}, types, pause, showRaw, button("Copy", () => copy(lines(), "Events")), button("Save", () => save("events.jsonl", new Blob([lines()], {type: "application/jsonl"})))),
    h("p", {class: "row"}, cut),
  );
  dialog.addEventListener("close", () => {
    delete app.panels.events;
    opener.setAttribute("aria-expanded", "false");
  }, {once: true});
  app.panels.events = follow;
  opener.setAttribute("aria-expanded", "true");
  if (matchMedia("(max-width: 54rem)").matches) dialog.showModal();
  else dialog.show();
  all();
  app.composer.focus();
};
