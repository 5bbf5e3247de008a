// Standings in the page: the numbers of standings.py once more, for whatever configurations a reader chooses.
// suite.tasks: {name, group, domain, frequency, term}; models: {mase, crps, naive_mase, naive_crps} by task, null where
// there is none. Tasks and models are indices throughout.
"use strict";

const METRICS = ["crps", "mase"];
const FLOOR = 0.01, COMPLETE = 0.9, RESAMPLES = 1000, FEWEST_GROUPS = 3;

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

function ratio(suite, model, task, metric) {
  const entry = suite.models[model];
  const error = entry[metric][task];
  const naive = (entry["naive_" + metric] || suite["naive_" + metric])[task];
  return error == null || !(naive > 0) ? NaN : error / naive;
}

// Models and tasks so that every model has every task; who lacks too many tasks, and which tasks somebody lacks.
function compare(suite, universe) {
  const has = (model, task) => METRICS.every((metric) => Number.isFinite(ratio(suite, model, task, metric)));
  const all = suite.models.map((_, model) => model);
  const counts = all.map((model) => universe.filter((task) => has(model, task)).length);
  const enough = Math.max(1, COMPLETE * Math.max(0, ...counts));
  const models = all.filter((model) => counts[model] >= enough);
  const tasks = universe.filter((task) => models.every((model) => has(model, task)));
  const leftOut = all.filter((model) => !models.includes(model)).map((model) => [model, counts[model]]);
  return { models, tasks, leftOut, dropped: universe.filter((task) => !tasks.includes(task)) };
}

const logs = (suite, model, tasks, metric) =>
  tasks.map((task) => Math.log(Math.max(ratio(suite, model, task, metric), FLOOR)));

// Index below `groups` of every draw: the finaliser of MurmurHash3 over the place of the draw, as in standings.py.
function draws(resamples, groups) {
  return Array.from({ length: resamples * groups }, (_, place) => {
    let word = Math.imul(place + 1, 0x9e3779b9);
    word = Math.imul(word ^ (word >>> 16), 0x85ebca6b);
    word = Math.imul(word ^ (word >>> 13), 0xc2b2ae35);
    return Math.floor((((word ^ (word >>> 16)) >>> 0) * groups) / 4294967296);
  });
}

function percentile(sorted, share) {
  const place = share * (sorted.length - 1), below = Math.floor(place);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (place - below) * (sorted[above] - sorted[below]);
}

// Resamples of data sets for these tasks; the function it returns makes the 95 % interval of a geometric mean.
function bootstrap(suite, tasks) {
  const names = [...new Set(tasks.map((task) => suite.tasks[task].group))].sort();
  const drawn = names.length < FEWEST_GROUPS ? [] : draws(RESAMPLES, names.length);
  const member = tasks.map((task) => names.indexOf(suite.tasks[task].group));
  const sizes = names.map((_, group) => member.filter((other) => other === group).length);
  return (values) => {
    if (!drawn.length) return [NaN, NaN];
    const sums = names.map(() => 0);
    values.forEach((value, index) => { sums[member[index]] += value; });
    const means = [];
    for (let start = 0; start < drawn.length; start += names.length) {
      let sum = 0, size = 0;
      for (let at = start; at < start + names.length; at++) { sum += sums[drawn[at]]; size += sizes[drawn[at]]; }
      means.push(Math.exp(sum / size));
    }
    means.sort((a, b) => a - b);
    return [percentile(means, 0.025), percentile(means, 0.975)];
  };
}

// Mean rank of each model, ties sharing the mean of their places.
function ranks(suite, models, tasks, metric) {
  const totals = models.map(() => 0);
  for (const task of tasks) {
    const row = models.map((model) => ratio(suite, model, task, metric));
    row.forEach((mine, m) => {
      const less = row.filter((other) => other < mine).length, same = row.filter((other) => other === mine).length;
      totals[m] += 1 + less + (same - 1) / 2;
    });
  }
  return totals.map((total) => total / tasks.length);
}

// A line a model, in the order of `models`.
function standings(suite, models, tasks) {
  if (!models.length || !tasks.length) return [];
  const interval = bootstrap(suite, tasks);
  const lines = models.map((model) => ({ model, skill: {}, low: {}, high: {}, rank: {} }));
  for (const metric of METRICS) {
    const places = ranks(suite, models, tasks, metric);
    lines.forEach((line, m) => {
      const values = logs(suite, line.model, tasks, metric), [low, high] = interval(values);
      line.skill[metric] = 1 - Math.exp(mean(values));
      line.low[metric] = 1 - high;
      line.high[metric] = 1 - low;
      line.rank[metric] = places[m];
    });
  }
  // On every task a model beats those that rank below it, a tie counting half.
  for (const line of lines) line.wins = models.length > 1 ? (models.length - line.rank.crps) / (models.length - 1) : NaN;
  return lines;
}

// Errors of `mine` over those of every other model: geometric mean, its paired interval, and wins, ties, losses.
function duels(suite, models, tasks, mine) {
  const interval = bootstrap(suite, tasks), own = {};
  for (const metric of METRICS) own[metric] = logs(suite, mine, tasks, metric);
  return models.filter((model) => model !== mine).map((model) => {
    const line = { model, ratio: {}, low: {}, high: {} };
    for (const metric of METRICS) {
      const theirs = logs(suite, model, tasks, metric);
      const quotient = own[metric].map((value, t) => value - theirs[t]);
      line.ratio[metric] = Math.exp(mean(quotient));
      [line.low[metric], line.high[metric]] = interval(quotient);
      if (metric === "crps") line.wins = quotient.filter((value) => value < 0).length;
      if (metric === "crps") line.ties = quotient.filter((value) => value === 0).length;
    }
    return line;
  });
}

if (typeof module !== "undefined") module.exports = { compare, draws, duels, standings };
