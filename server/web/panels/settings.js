// Settings of the page, and the keys that it knows.

import {ask, button, fill, h} from "../lib/dom.js";
import {settings, token} from "../lib/store.js";

const THEMES = [["auto", "as the system"], ["light", "light"], ["dark", "dark"]];
const KEYS = [
  ["Enter", "send (Shift+Enter breaks the line; on touch screens the button sends)"],
  ["Esc", "stop the answer, or close what is open"],
  ["Ctrl+K", "models"],
  ["Ctrl+Shift+O", "new conversation"],
  ["Ctrl+Shift+E", "events"],
  ["Ctrl+/", "this list"],
];

/** @param {any} app */
export const openSettings = (app) =>
  ask("Settings", (close) => {
    const themes = THEMES.map(([value, label]) =>
      h("label", {}, h("input", {type: "radio", name: "theme", value, checked: settings.get("theme", "auto") === value, onChange: () => (settings.set("theme", value), app.applyTheme())}), ` ${label} `),
    );
    const grace = h("input", {type: "number", id: "grace", min: 0, max: 600, value: settings.get("graceS", 60), onChange: () => settings.set("graceS", Number(grace.value) || 0)});
    const owned = h("p", {});
    const showToken = () =>
      fill(owned, token.get() ? ["A token is used. ", button("Forget it", () => (token.set("", false), showToken()))] : ["No token is used. ", button("Enter one", () => (close(), app.askToken("The server asks for it where callers have tokens.")))]);
    showToken();
    return [
      h("fieldset", {}, h("legend", {}, "Colours"), themes),
      h("p", {}, h("label", {htmlFor: "grace"}, "Finish although I leave, seconds"), grace),
      h("p", {class: "quiet"}, "An answer that nobody reads goes on for so long, and can be read on when you come back. A closed tab keeps paying for that long."),
      owned,
      h("p", {class: "quiet"}, app.store.isKept ? "Conversations are kept in this browser, and nowhere else; some browsers drop them when space is short or after weeks without a visit. Save what you need." : "This browser keeps nothing here."),
      h("p", {class: "row"}, button("Keys", () => (close(), openKeys())), h("a", {href: "docs"}, "The API")),
    ];
  });

export const openKeys = () =>
  ask("Keys", () => [h("table", {}, h("tbody", {}, KEYS.map(([key, does]) => h("tr", {}, h("th", {scope: "row"}, key), h("td", {}, does)))))]);
