// What a reader chooses, and the whole page drawn from it.
"use strict";

function controls(suite, tasks) {
  const fill = (name, options) => {
    const select = document.querySelector(`#filters [name=${name}]`);
    select.innerHTML = options.map(([value, text]) => `<option value="${safe(value)}">${safe(text)}</option>`).join("");
    select.value = name === "suite" ? suite.name : STATE[name];
    if (select.selectedIndex < 0) select.selectedIndex = 0;
    select.parentElement.hidden = options.length < 2;
    select.parentElement.style.display = options.length < 2 ? "none" : "";
  };
  fill("suite", DATA.suites.map((one) => [one.name, one.title]));
  const scopes = [["measured", suite.benchmark ? `measured by this project (${suite.measured})` : `all ${suite.measured}`]];
  if (suite.tasks.length > suite.measured) scopes.push(["all", `all ${suite.tasks.length}, published models only`]);
  fill("scope", scopes);
  for (const name of DIMENSIONS) {
    const values = suite.orders[name].filter((value) => value && tasks.some((task) => suite.tasks[task][name] === value));
    fill(name, values.length < 2 ? [] : [["", "all"], ...values.map((value) => [value, value])]);
  }
  for (const name of ["source", "q"]) {
    const control = document.querySelector(`#filters [name=${name}]`);
    if (control !== document.activeElement) control.value = STATE[name];
  }
  document.querySelector("#filters [name=leak]").checked = STATE.leak === "hide";
  for (const name of ["by", "metric"]) document.querySelector(`[name=${name}]`).value = STATE[name];
}

function standfirst(suite, found, tasks, shown) {
  const sets = new Set(tasks.map((task) => suite.tasks[task].group)).size;
  const whole = suite.tasks.length;
  const plural = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;
  const count = `${plural(found.models.length, "model")} on ${plural(tasks.length, "configuration")} of ${plural(sets, "data set")}`;
  const warning = tasks.length < whole ? `<strong>${tasks.length} of ${whole} configurations: no rank on the whole benchmark follows.</strong> ` : "";
  byId("title").textContent = suite.title;
  byId("standfirst").innerHTML = `${warning}${count}; ${shown} shown.`;
}

function remarks(suite, found, tasks) {
  const name = (model) => suite.models[model].name;
  const parts = [];
  if (found.leftOut.length) parts.push(`Not compared, measured on too few of these configurations: ${found.leftOut.map(([model, count]) => `${name(model)} (${count})`).join(", ")}.`);
  if (found.dropped.length) parts.push(`Left out of the standings, because a compared model has no result there or seasonal naive is exact: ${found.dropped.map((task) => suite.tasks[task].name).join(", ")}.`);
  if (new Set(tasks.map((task) => suite.tasks[task].group)).size < FEWEST_GROUPS) parts.push("No intervals: fewer than three data sets.");
  parts.push("Ranks and wins are among all compared models, hidden ones too. Mean rank and wins say the same on two scales.");
  byId("remarks").textContent = parts.join(" ");
}

const current = () => DATA.suites.find((one) => one.name === STATE.suite) || DATA.suites[0];
// A part that the suite does not have, from an old or mistyped address, filters nothing.
const wantedPart = (suite, name) => (suite.orders[name].includes(STATE[name]) ? STATE[name] : "");

function draw() {
  const suite = current();
  const universe = suite.tasks.map((_, task) => task).slice(0, STATE.scope === "all" ? undefined : suite.measured);
  const found = compare(suite, universe);
  const inside = (task) => DIMENSIONS.every((name) => !wantedPart(suite, name) || suite.tasks[task][name] === STATE[name]);
  const tasks = found.tasks.filter(inside);
  const wanted = STATE.q.toLowerCase();
  const lines = standings(suite, found.models, tasks).filter(({ model }) => {
    const { name, ours, leak } = suite.models[model];
    return name.toLowerCase().includes(wanted) && !(STATE.leak === "hide" && leak === "yes") &&
      (!STATE.source || ours === (STATE.source === "ours"));
  });
  controls(suite, found.tasks);
  standfirst(suite, found, tasks, lines.length);
  remarks(suite, found, tasks);
  table(byId("standings-table"), "sort", standingsColumns(suite, lines), lines, kindOf(suite));
  scatter(suite, lines);
  for (const id of ["parts", "detail"]) byId(id).hidden = !lines.length;
  if (!lines.length) return;
  partsTable(suite, found.models, tasks, lines);
  detail(suite, found.models, tasks, found.dropped.filter(inside));
}

byId("filters").hidden = false;
byId("filters").onsubmit = (event) => event.preventDefault();
byId("filters").onreset = (event) => { event.preventDefault(); history.replaceState(null, "", "#"); draw(); };
document.addEventListener("input", ({ target }) => {
  if (target.type === "checkbox") write({ [target.name]: target.checked ? target.value : "" });
  else if (target.name === "suite") write({ suite: target.value, scope: "", term: "", domain: "", frequency: "", model: "", sort: "", parts: "" });
  else if (target.name) write({ [target.name]: target.value, ...(target.name === "by" ? { parts: "" } : {}) });
});
addEventListener("hashchange", draw);
document.addEventListener("click", ({ target }) => {
  if (target.closest("a.model")) setTimeout(() => byId("detail").scrollIntoView());
});
draw();
