// What was spent: tiles, bars by day and model, and the table that they are made of. Every value is the server's.

import {button, fill, h, money, save} from "../lib/dom.js";

const SVG = "http://www.w3.org/2000/svg";
const DAY_MS = 86_400_000;
const SHOWN = 6;
/** @type {[string, string, (row: any) => any][]} */
const COLUMNS = [
  ["day", "Day (UTC)", (row) => row.day],
  ["caller", "Caller", (row) => row.caller],
  ["model", "Model", (row) => row.model],
  ["requests", "Answers", (row) => row.requests],
  ["prompt_tokens", "Tokens in", (row) => row.prompt_tokens],
  ["completion_tokens", "Tokens out", (row) => row.completion_tokens],
  ["cost_usd", "USD", (row) => row.cost_usd],
  ["settled_cost_usd", "Settled USD", (row) => row.settled_cost_usd],
  ["unsettled", "Unsettled", (row) => row.unsettled],
];
const iso = (ms) => new Date(ms).toISOString().slice(0, 10);

/** @param {string} tag @param {Record<string, any>} attributes @param {...any} children */
const svg = (tag, attributes, ...children) => {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
};

/** @param {any} app @param {Element} place */
export const showUsage = async (app, place) => {
  /** @type {any} */ (place).hidden = false;
  const today = iso(Date.now());
  const from = h("input", {type: "date", "aria-label": "First day, UTC", max: today, onChange: () => show()});
  const to = h("input", {type: "date", "aria-label": "Last day, UTC", max: today, value: today, onChange: () => show()});
  const range = (days) => button(`${days} days`, () => {
    to.value = iso(Date.now());
    from.value = iso(Date.now() - (days - 1) * DAY_MS);
    show();
  });
  const body = h("div", {});
  let asked = 0;
  const show = async () => {
    const mine = ++asked; // of two ranges the one asked for last is shown, whichever is told first
    try {
      const usage = await app.client.usage({from: from.value, to: to.value});
      if (mine !== asked) return;
      fill(body, ...contents(usage, body.clientWidth));
    } catch (error) {
      if (mine !== asked) return;
      if (error.type === "unauthorized" && (await app.askToken(error.message))) return show();
      fill(body, h("p", {class: "error", role: "alert"}, error.message));
    }
  };
  from.value = iso(Date.now() - 29 * DAY_MS);
  fill(
    place,
    h("div", {class: "row"}, h("h2", {}, "What was spent"), h("span", {class: "grow"}), h("a", {href: "#", onClick: (event) => (event.preventDefault(), history.replaceState(null, "", location.pathname + location.search), app.showChat())}, "Back to the conversation")),
    h("p", {class: "row"}, [7, 30, 90].map(range), from, "to", to, h("span", {class: "quiet"}, "Days are UTC.")),
    body,
  );
  await show();
};

const contents = (usage, roomPx) => {
  const rows = usage.data;
  const warning = usage.stored === false && h("p", {class: "error", role: "alert"}, "The server cannot write its ledger now: these figures are in its memory only, and end with it.");
  const budget = usage.budget && h("p", {}, `Budget of a day: ${money(usage.budget.spent_usd)} spent and ${money(usage.budget.reserved_usd)} reserved of ${money(usage.budget.limit_usd)}; resets ${usage.budget.resets_at}.`);
  if (!rows.length) return [warning, budget, h("p", {}, "Nothing was spent in these days.")];
  const sum = (name) => rows.reduce((all, row) => all + row[name], 0);
  const answers = sum("requests");
  const tile = (label, value, note = "") => h("p", {class: "tile"}, label, h("strong", {}, value), note && h("span", {class: "quiet"}, note));
  const unsettled = sum("unsettled");
  return [
    warning,
    budget,
    h("div", {class: "tiles"}, tile("Sum", money(usage.total_cost_usd), unsettled ? `${unsettled} not settled yet` : ""), tile("Settled", money(usage.total_settled_cost_usd)), tile("Answers", String(answers)), tile("Tokens in", sum("prompt_tokens").toLocaleString("en")), tile("Tokens out", sum("completion_tokens").toLocaleString("en")), tile("Mean cost", money(answers ? usage.total_cost_usd / answers : null))),
    ...chart(usage, Math.max(300, Math.min(1000, roomPx))),
    table(rows),
  ];
};

/** Stacked bars, and what their colours mean; drawn for the room there is, so that words stay readable. */
const chart = (usage, width) => {
  const byModel = new Map();
  for (const row of usage.data) byModel.set(row.model, (byModel.get(row.model) ?? 0) + row.cost_usd);
  const models = [...byModel].sort((a, b) => b[1] - a[1]).map(([model]) => model);
  const named = models.slice(0, SHOWN);
  const rankOf = (model) => (named.includes(model) ? named.indexOf(model) : SHOWN);
  const labels = models.length > SHOWN ? [...named, "others"] : named;
  const days = [];
  for (let ms = Date.parse(usage.first_day); ms <= Date.parse(usage.last_day); ms += DAY_MS) days.push(iso(ms));
  const parts = new Map(days.map((day) => [day, labels.map(() => ({cost: 0, settled: 0}))]));
  for (const row of usage.data) {
    const part = parts.get(row.day)?.[rankOf(row.model)];
    if (part) {
      part.cost += row.cost_usd;
      part.settled += row.settled_cost_usd;
    }
  }
  const totals = days.map((day) => parts.get(day).reduce((all, {cost}) => all + cost, 0));
  const most = Math.max(...totals) || 1;
  const [height, left, bottom] = [240, 50, 24];
  const words = Math.floor((width - left) / 60);
  const step = (width - left) / days.length;
  const barWidth = Math.max(1, Math.min(40, step * 0.8));
  const drawing = svg("svg", {viewBox: `0 0 ${width} ${height + bottom}`, class: "chart", role: "group", "aria-label": `Cost by day from ${usage.first_day} to ${usage.last_day}; the table below holds the same`});
  const pattern = svg("pattern", {id: "hatch", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)"}, svg("rect", {width: 3, height: 6, fill: "Canvas"}));
  drawing.append(svg("defs", {}, pattern));
  for (const share of [0, 0.5, 1]) {
    const y = height - share * (height - 10);
    drawing.append(svg("line", {class: "rule", x1: left, x2: width, y1: y, y2: y}), svg("text", {class: "axis", x: left - 6, y: y + 4, "text-anchor": "end"}, (most * share).toPrecision(2)));
  }
  days.forEach((day, index) => {
    const x = left + index * step + (step - barWidth) / 2;
    const told = [`${day}: ${money(totals[index])}`];
    const group = svg("g", {class: "bar", tabindex: totals[index] ? 0 : -1, role: "img"});
    let y = height;
    parts.get(day).forEach(({cost, settled}, rank) => {
      if (!cost) return;
      const size = (cost / most) * (height - 10);
      y -= size;
      group.append(svg("rect", {class: `c${rank}`, x, y, width: barWidth, height: size}));
      const open = ((cost - settled) / most) * (height - 10);
      if (open > 0.01) group.append(svg("rect", {fill: "url(#hatch)", x, y, width: barWidth, height: open}));
      told.push(`${labels[rank]} ${money(cost)}${cost - settled > 1e-12 ? `, of it not settled ${money(cost - settled)}` : ""}`);
    });
    group.setAttribute("aria-label", told.join("; "));
    group.append(svg("title", {}, told.join("\n")));
    if (totals[index]) drawing.append(group);
    if (index % Math.ceil(days.length / words) === 0) drawing.append(svg("text", {class: "axis", x: x + barWidth / 2, y: height + 16, "text-anchor": "middle"}, day.slice(5)));
  });
  const hatched = usage.data.some((row) => row.unsettled) && h("span", {}, "▨ not settled yet: an upper estimate");
  return [drawing, h("p", {class: "row quiet"}, labels.map((label, rank) => h("span", {}, h("span", {class: `key c${rank}`, "aria-hidden": "true"}), label)), hatched)];
};

const table = (rows) => {
  const hasCallers = new Set(rows.map((row) => row.caller)).size > 1;
  const columns = COLUMNS.filter(([name]) => name !== "caller" || hasCallers);
  let sorted = [...rows].sort((a, b) => (a.day < b.day ? 1 : -1));
  let by = "day";
  let isUp = false;
  const head = h("tr", {});
  const body = h("tbody", {});
  const cell = (row, [name, , value], index) => h(index ? "td" : "th", {class: typeof row[name] === "number" ? "right" : "", scope: index ? null : "row"}, name.endsWith("usd") ? row[name].toFixed(6) : String(value(row)));
  const show = () => {
    fill(head, ...columns.map(([name, label]) => h("th", {scope: "col", "aria-sort": name === by ? (isUp ? "ascending" : "descending") : "none"}, button(`${label}${name === by ? (isUp ? " ▲" : " ▼") : ""}`, () => {
      isUp = by === name ? !isUp : name === "model";
      by = name;
      sorted = [...rows].sort((a, b) => ((a[by] > b[by] ? 1 : a[by] < b[by] ? -1 : 0) * (isUp ? 1 : -1)));
      show();
    }))));
    fill(body, ...sorted.map((row) => h("tr", {}, columns.map((column, index) => cell(row, column, index)))));
  };
  show();
  const csv = () => [columns.map(([name]) => name).join(","), ...sorted.map((row) => columns.map(([name]) => quoted(row[name])).join(","))].join("\r\n") + "\r\n";
  return h(
    "div",
    {},
    h("p", {class: "row"}, button("Save as CSV", () => save("usage.csv", new Blob([csv()], {type: "text/csv"})))),
    h("div", {class: "table", tabIndex: 0, role: "region", "aria-label": "Usage by day and model"}, h("table", {}, h("thead", {}, head), body)),
  );
};

/** A cell of RFC 4180; one that a spreadsheet would take for a formula is marked as text. @param {any} value */
const quoted = (value) => {
  if (typeof value === "number") return String(value);
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};
