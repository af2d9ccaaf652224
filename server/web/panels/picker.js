// Picks a model: a field to type in, filters, and a list of what the server's catalogue has for them.

import {append, ask, byId, fill, h, newId, perMillion, thousands, button} from "../lib/dom.js";

const PAGE = 50;
const DELAY_MS = 150;
const CHIPS = [
  ["free", {free_only: "true"}],
  ["thinks", {reasoning: "true"}],
  ["tools", {supported_parameters: "tools"}],
  ["sees images", {input_modalities: "image"}],
  ["reads files", {input_modalities: "file"}],
  ["paints", {output_modalities: "image"}],
];
const ICONS = {text: "T", image: "I", file: "F", audio: "A", video: "V"};
const ORDERS = [["", "best match"], ["newest", "newest"], ["pricing_low_to_high", "cheapest"], ["context_high_to_low", "largest context"], ["name", "name"]];

/** @param {any} app @param {Record<string, any>} wanted filters that are set already @returns {Promise<string>} the id, or nothing */
export const openPicker = (app, wanted) =>
  ask("Model", (close) => {
    const ids = {list: `l-${newId().slice(0, 8)}`, told: `p-${newId().slice(0, 8)}`};
    const list = h("ul", {id: ids.list, class: "options", role: "listbox", "aria-label": "Models", tabIndex: -1});
    const told = h("p", {class: "quiet", role: "status"});
    const about = h("div", {class: "about", hidden: true});
    const field = h("input", {type: "search", role: "combobox", "aria-expanded": "true", "aria-controls": ids.list, "aria-autocomplete": "list", "aria-label": "Search models", placeholder: "Name, id, or what it is for", autofocus: true});
    const set = new Set(CHIPS.filter(([, query]) => Object.keys(query).every((key) => String(wanted[key]) === query[key])).map(([name]) => name));
    const context = h("input", {type: "number", min: 0, step: 1000, value: wanted.min_context_length ?? "", "aria-label": "Smallest context, tokens", placeholder: "context ≥"});
    const price = h("input", {type: "number", min: 0, step: 0.1, "aria-label": "Highest prompt price, USD per million tokens", placeholder: "price ≤"});
    const order = h("select", {"aria-label": "Order"}, ORDERS.map(([value, label]) => h("option", {value}, label)));
    const chips = CHIPS.map(([name]) => h("label", {}, h("input", {type: "checkbox", checked: set.has(name), onChange: (event) => (event.target.checked ? set.add(name) : set.delete(name), search())}), ` ${name}`));
    /** @type {any[]} */ let models = [];
    let total = 0;
    let at = 0;
    let timer = 0;
    let asking = new AbortController();

    const query = (offset) => {
      const lists = {};
      for (const [name, parts] of CHIPS) if (set.has(name)) for (const [key, value] of Object.entries(parts)) lists[key] = lists[key] ? `${lists[key]},${value}` : value;
      return {q: field.value.trim(), min_context_length: context.value, max_price: price.value, sort: order.value, ...lists, limit: PAGE, offset};
    };
    const search = async (offset = 0) => {
      asking.abort();
      asking = new AbortController();
      const {signal} = asking;
      try {
        const found = await app.client.get("models/search", query(offset), signal);
        if (signal.aborted) return;
        models = offset ? [...models, ...found.data] : found.data;
        total = found.total;
        told.textContent = `${total} ${total === 1 ? "model" : "models"}${found.stale ? `; the list is of ${found.fetched_at}, since OpenRouter cannot be asked now` : ""}`;
        if (!offset) at = field.value.trim() ? 0 : Math.max(0, models.findIndex(({id}) => id === app.model));
        show();
      } catch (error) {
        if (!signal.aborted) told.textContent = error.message;
      }
    };
    const later = () => {
      clearTimeout(timer);
      timer = setTimeout(search, DELAY_MS);
    };
    const show = () => {
      fill(list, ...models.map((model, index) => row(model, `${ids.list}-${index}`, index === at, () => close(model.id))));
      if (models.length < total) list.append(h("li", {role: "option", "aria-selected": "false", onClick: () => search(models.length)}, `Show more (${total - models.length})`));
      mark();
    };
    const mark = () => {
      [...list.children].forEach((item, index) => item.setAttribute("aria-selected", String(index === at)));
      const here = list.children[at];
      if (here) {
        field.setAttribute("aria-activedescendant", here.id);
        const [top, bottom] = [here.offsetTop, here.offsetTop + here.offsetHeight]; // of the list alone: the field stays in view
        if (top < list.scrollTop) list.scrollTop = top;
        else if (bottom > list.scrollTop + list.clientHeight) list.scrollTop = bottom - list.clientHeight;
      } else field.removeAttribute("aria-activedescendant");
      about.hidden = true;
    };
    const keys = {
      ArrowDown: () => Math.min(at + 1, models.length - 1),
      ArrowUp: () => Math.max(at - 1, 0),
      PageDown: () => Math.min(at + 8, models.length - 1),
      PageUp: () => Math.max(at - 8, 0),
    };
    field.addEventListener("input", later);
    field.addEventListener("keydown", (event) => {
      if (event.isComposing) return;
      if (event.key === "Enter" && models[at]) return close(models[at].id);
      const move = keys[event.key] ?? (event.ctrlKey && {Home: () => 0, End: () => models.length - 1}[event.key]);
      if (!move) return;
      event.preventDefault();
      at = move();
      mark();
      if (at >= models.length - 2 && models.length < total) search(models.length);
    });
    for (const input of [context, price]) input.addEventListener("input", later);
    order.addEventListener("change", () => search());
    const more = button("About this model", async () => {
      const model = models[at];
      if (!model) return;
      about.hidden = false;
      fill(about, h("p", {}, "…"));
      const {data, endpoints} = await app.client.models.get(model.id).catch(() => ({data: model, endpoints: []}));
      if (models[at] !== model) return; // another one is looked at by now
      fill(about, h("p", {class: "plain", dir: "auto"}, data.description ?? ""), endpointTable(endpoints));
      about.scrollIntoView({block: "nearest"});
    });
    search();
    queueMicrotask(() => field.focus());
    return [field, h("div", {class: "chips"}, chips), h("div", {class: "chips"}, context, price, order, more), told, list, about];
  }, "wide");

const row = (model, id, isHere, choose) => {
  const {input_modalities: inputs = [], output_modalities: outputs = []} = model.architecture ?? {};
  const icons = (kinds) => kinds.map((kind) => ICONS[kind] ?? kind).join(" ");
  return h(
    "li",
    {id, role: "option", "aria-selected": String(isHere), onClick: choose},
    h("span", {dir: "auto"}, model.name),
    h("span", {class: "price"}, `${perMillion(model.pricing?.prompt)} / ${perMillion(model.pricing?.completion)}`),
    h("span", {class: "id"}, model.id),
    h("span", {class: "price quiet", title: `reads ${inputs.join(", ")}; gives ${outputs.join(", ")}`}, `${thousands(model.context_length)} · ${icons(inputs)} → ${icons(outputs)}`),
  );
};

const endpointTable = (endpoints) =>
  endpoints?.length > 0 &&
  h(
    "div",
    {class: "table", tabIndex: 0, role: "region", "aria-label": "Providers"},
    h(
      "table",
      {},
      h("thead", {}, h("tr", {}, ["Provider", "In / out, USD per million", "Context", "Uptime"].map((text) => h("th", {scope: "col"}, text)))),
      h("tbody", {}, endpoints.map((each) => h("tr", {}, h("td", {}, each.provider_name ?? each.name), h("td", {}, `${perMillion(each.pricing?.prompt)} / ${perMillion(each.pricing?.completion)}`), h("td", {}, thousands(each.context_length)), h("td", {}, each.uptime_last_30m == null ? "–" : `${Math.round(each.uptime_last_30m)} %`)))),
    ),
  );
