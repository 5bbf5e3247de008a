// Tables that sort. What a reader chose stands in the address (#suite=...&term=...), so that every view can be linked.
"use strict";

const DATA = JSON.parse(document.getElementById("data").textContent);
const START = { suite: DATA.suites[0].name, scope: "measured", sort: "-crps", by: "domain", metric: "crps", duels: "-crps", tasks: "name", parts: "-all" };
const DIMENSIONS = ["term", "domain", "frequency"];
const STATE = new Proxy({}, { get: (_, key) => read().get(key) ?? START[key] ?? "" });
const byId = (id) => document.getElementById(id);
const read = () => new URLSearchParams(location.hash.slice(1));

function write(changes) {
  const state = read();
  for (const [key, value] of Object.entries(changes)) {
    if (value === "" || value === START[key]) state.delete(key); else state.set(key, value);
  }
  history.replaceState(null, "", "#" + state);
  draw();
}

const safe = (text) => String(text).replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
const sign = (text) => text.replace("-", "\u2212");
const fixed = (value, digits = 3) =>
  !Number.isFinite(value) ? "" : sign(Math.abs(value) >= 1e4 ? value.toExponential(1) : value.toFixed(Math.abs(value) >= 100 ? 1 : digits));
const plain = (value) => (value == null ? "" : Math.abs(value) >= 1e5 ? value.toExponential(2) : String(Number(value.toPrecision(4))));
const range = (low, high) => (Number.isFinite(low) ? `<span class="range">[${fixed(low, 2)}, ${fixed(high, 2)}]</span>` : "");
// Models are named in the address as a person would, published ones apart: a name can stand on both sides.
const keyOf = (entry) => (entry.ours ? "" : "published/") + entry.name;
const modelLink = (suite, model) => {
  const state = read();
  state.set("model", keyOf(suite.models[model]));
  return `<a class="model" href="#${safe(state)}">${safe(suite.models[model].name)}</a>`;
};

const kindOf = (suite) => (line) => [suite.models[line.model].ours && "ours", /^seasonal.naive$/.test(suite.models[line.model].name) && "baseline"].filter(Boolean).join(" ");

function size(parameters) {
  if (parameters == null) return "";
  if (parameters === 0) return "0";
  const [unit, letter] = parameters >= 1e9 ? [1e9, "B"] : parameters >= 1e6 ? [1e6, "M"] : [1e3, "k"];
  return Number((parameters / unit).toPrecision(3)) + " " + letter;
}

// A table that every heading sorts. columns: {key, head, text, value(line), cell(line)}; `state` names the order's key.
function table(element, state, columns, lines, kind = () => "") {
  const order = STATE[state], key = order.replace(/^-/, ""), down = order.startsWith("-");
  const column = columns.find((one) => one.key === key) || columns[0];
  const rank = (value) => (value == null || Number.isNaN(value) || value === "" ? null : value);
  const sorted = [...lines].sort((one, other) => {
    const a = rank(column.value(one)), b = rank(column.value(other));
    if (a === null || b === null) return (a === null) - (b === null);
    const found = typeof a === "string" ? a.localeCompare(b, "en", { sensitivity: "base", numeric: true }) : a - b;
    return down ? -found : found;
  });
  const heads = columns.map((one) => {
    const sort = one === column ? ` aria-sort="${down ? "descending" : "ascending"}"` : "";
    const hint = one.hint ? ` title="${safe(one.hint)}"` : "";
    const css = [one.text && "text", one.pin && "pin"].filter(Boolean).join(" ");
    return `<th scope="col" class="${css}"${sort}${hint}><button type="button" data-key="${safe(one.key)}"${one.below ? ` aria-label="${safe(`${one.head} ${one.below}`)}"` : ""}>${safe(one.head)}</button>${one.below ? `<small>${safe(one.below)}</small>` : ""}</th>`;
  });
  const body = sorted.map((line, place) => `<tr class="${kind(line)}">${columns.map((one) => {
    const css = [one.text && "text", one.pin && "pin", one.css && one.css(line)].filter(Boolean).join(" ");
    return one.pin ? `<th scope="row" class="${css}">${one.cell(line, place)}</th>` : `<td class="${css}">${one.cell(line, place)}</td>`;
  }).join("")}</tr>`);
  const focus = document.activeElement?.closest?.("table") === element && document.activeElement.dataset.key;
  element.innerHTML = `<thead><tr>${heads.join("")}</tr></thead><tbody>${body.join("")}</tbody>`;
  element.onclick = (event) => {
    const chosen = event.target.closest("button")?.dataset.key;
    if (!chosen) return;
    const first = columns.find((one) => one.key === chosen).down ? "-" : "";
    write({ [state]: chosen === key ? (down ? "" : "-") + chosen : first + chosen });
  };
  if (focus) [...element.querySelectorAll("button")].find((one) => one.dataset.key === focus)?.focus();
}

function whisker(line, metric, frame) {
  const low = line.low[metric], high = line.high[metric], skill = line.skill[metric];
  const at = (value) => (2 + 82 * (Math.min(Math.max(value, frame[0]), frame[1]) - frame[0]) / (frame[1] - frame[0] || 1)).toFixed(1);
  const bar = Number.isFinite(low) ? `<path d="M${at(low)} 3V11M${at(low)} 7H${at(high)}M${at(high)} 3V11"/>` : "";
  const point = skill < frame[0] ? '<path d="M7 3L2 7L7 11"/>' : `<circle cx="${at(skill)}" cy="7" r="2.6"/>`;
  return `<svg class="whisker" width="86" height="14" aria-hidden="true"><path class="zero" d="M${at(0)} 0V14"/>${skill < frame[0] ? "" : bar}${point}</svg>`;
}

function standingsColumns(suite, shown) {
  const name = (line) => suite.models[line.model];
  const frame = {};
  for (const metric of METRICS) {
    const ends = shown.flatMap((line) => [line.low[metric], line.high[metric], line.skill[metric]]).filter(Number.isFinite);
    frame[metric] = [Math.max(-0.3, Math.min(0, ...ends)), Math.max(0, ...ends)];
  }
  const skill = (metric) => ({
    key: metric, head: metric.toUpperCase() + " skill", down: true, value: (line) => line.skill[metric],
    cell: (line) => `${fixed(line.skill[metric])} ${range(line.low[metric], line.high[metric])}${whisker(line, metric, frame[metric])}`,
  });
  const timed = (value) => (value == null ? "" : value >= 100 ? value.toFixed(0) : value.toPrecision(2));
  return [
    { key: "model", head: "Model", text: true, pin: true, value: (line) => name(line).name, cell: (line) => modelLink(suite, line.model) },
    skill("crps"), skill("mase"),
    { key: "rank", head: "Rank", below: "CRPS", hint: "Mean rank over the configurations, 1 is best", value: (line) => line.rank.crps, cell: (line) => fixed(line.rank.crps, 1) },
    { key: "rank_mase", head: "Rank", below: "MASE", hint: "Mean rank over the configurations, 1 is best", value: (line) => line.rank.mase, cell: (line) => fixed(line.rank.mase, 1) },
    { key: "wins", head: "Wins", below: "CRPS", down: true, hint: "Share of duels won on CRPS, over configurations and other models; ties count half", value: (line) => line.wins, cell: (line) => (Number.isFinite(line.wins) ? fixed(100 * line.wins, 0) + " %" : "") },
    { key: "parameters", head: "Parameters", value: (line) => name(line).parameters, cell: (line) => size(name(line).parameters) },
    { key: "seconds", head: "Seconds", below: "per 1,000", hint: "Seconds for 1,000 forecasts, on the hardware named in the notes", value: (line) => name(line).seconds, cell: (line) => timed(name(line).seconds) },
    { key: "source", head: "Source", text: true, value: (line) => (name(line).ours ? "a" : "b"), cell: (line) => (name(line).ours ? "ours" : "published") },
    { key: "licence", head: "Licence", text: true, value: (line) => name(line).licence, cell: (line) => safe(name(line).licence) },
    { key: "leak", head: "Leak", text: true, hint: "Whether test data were in training; in part: some series cannot be checked", value: (line) => name(line).leak, cell: (line) => (name(line).leak === "yes" ? '<span class="flag">yes</span>' : safe(name(line).leak)) },
  ];
}

function partsTable(suite, models, tasks, lines) {
  const by = STATE.by, metric = STATE.metric, found = {};
  const values = suite.orders[by].filter((value) => tasks.some((task) => suite.tasks[task][by] === value));
  const inside = (value) => tasks.filter((task) => value === null || suite.tasks[task][by] === value);
  for (const value of [null, ...values]) {
    const skills = new Map(standings(suite, models, inside(value)).map((line) => [line.model, line.skill[metric]]));
    found[value] = { skills, best: Math.max(...lines.map((line) => skills.get(line.model))) };
  }
  const column = (value, head) => ({
    key: value ?? "all", head, down: true, below: String(inside(value).length), value: (line) => found[value].skills.get(line.model),
    cell: (line) => fixed(found[value].skills.get(line.model)), css: (line) => found[value].skills.get(line.model) === found[value].best && "best",
  });
  const first = { key: "model", head: "Model", text: true, pin: true, value: (line) => suite.models[line.model].name, cell: (line) => modelLink(suite, line.model) };
  table(byId("parts-table"), "parts", [first, column(null, "all"), ...values.map((value) => column(value, value || "not stated"))], lines, kindOf(suite));
}

// One model: its duels on the tasks compared, its errors on those dropped as well.
function detail(suite, models, tasks, dropped) {
  const select = document.querySelector("[name=model]");
  const asked = models.find((model) => keyOf(suite.models[model]) === STATE.model);
  const mine = asked ?? models.find((model) => suite.models[model].ours) ?? models[0];
  select.innerHTML = models.map((model) => `<option value="${safe(keyOf(suite.models[model]))}"${model === mine ? " selected" : ""}>${safe(suite.models[model].name)}${suite.models[model].ours ? ", this project" : ""}</option>`).join("");
  const entry = suite.models[mine];
  byId("about").textContent = entry.about;
  byId("against").hidden = models.length < 2;
  const duel = (metric) => ({
    key: metric, head: metric.toUpperCase() + " ratio", value: (line) => line.ratio[metric], cell: (line) => `${fixed(line.ratio[metric])} ${range(line.low[metric], line.high[metric])}`,
    css: (line) => (line.high[metric] < 1 || line.low[metric] > 1) && "sure",
  });
  table(byId("duels-table"), "duels", [
    { key: "model", head: "Other model", text: true, pin: true, value: (line) => suite.models[line.model].name, cell: (line) => modelLink(suite, line.model) },
    duel("crps"), duel("mase"),
    { key: "wins", head: "Better on", down: true, value: (line) => line.wins, cell: (line) => line.wins },
    { key: "ties", head: "equal", down: true, value: (line) => line.ties, cell: (line) => line.ties },
    { key: "losses", head: "worse", value: (line) => tasks.length - line.wins - line.ties, cell: (line) => tasks.length - line.wins - line.ties },
  ], duels(suite, models, tasks, mine), kindOf(suite));
  const naive = (metric, task) => (entry["naive_" + metric] || suite["naive_" + metric])[task];
  const ordered = (task) => [...models].sort((one, other) => ratio(suite, one, task, "crps") - ratio(suite, other, task, "crps"));
  const compared = tasks.map((task) => ({ task, order: ordered(task) }));
  const lines = [...compared, ...dropped.filter((task) => entry.crps[task] != null).map((task) => ({ task, order: [] }))];
  // Where the seasonal naive forecast is exact there is no ratio, and the plain error stands in its place.
  const ratioOrError = (line) => fixed(ratio(suite, mine, line.task, "mase")) || (entry.extra?.mae ? "MAE " + plain(entry.extra.mae[line.task]) : "");
  const number = (key, head, value, cell = plain) => ({ key, head, value: (line) => value(line.task), cell: (line) => cell(value(line.task)) });
  const extra = Object.keys(entry.extra || {}).map((key) => number(key, DATA.extra[key], (task) => entry.extra[key][task]));
  table(byId("tasks-table"), "tasks", [
    { key: "name", head: "Configuration", text: true, pin: true, value: (line) => suite.tasks[line.task].name, cell: (line) => safe(suite.tasks[line.task].name) },
    number("crps", "CRPS", (task) => entry.crps[task]), number("ncrps", "seasonal naive", (task) => naive("crps", task)),
    number("rcrps", "ratio", (task) => ratio(suite, mine, task, "crps"), fixed),
    number("mase", "MASE", (task) => entry.mase[task]), number("nmase", "seasonal naive", (task) => naive("mase", task)),
    { key: "rmase", head: "ratio", value: (line) => ratio(suite, mine, line.task, "mase"), cell: ratioOrError }, ...extra,
    { key: "place", head: "Place, CRPS", value: (line) => (line.order.length ? line.order.indexOf(mine) : null), cell: (line) => (line.order.length ? line.order.indexOf(mine) + 1 : "") },
    { key: "best", head: "Best here", text: true, value: (line) => suite.models[line.order[0]]?.name, cell: (line) => safe(suite.models[line.order[0]]?.name ?? "") },
  ], lines);
}
