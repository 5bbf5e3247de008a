// Parameters against skill: an SVG with a logarithmic axis, and labels where they fit.
"use strict";

const FRAME = { left: 46, right: 730, top: 12, bottom: 400, zero: 84, start: 130 };

// Texts beside their points, ours first and farther off at the end of a line where it must be; another one that would
// cover a point or a text is left out (its title stays).
function labels(points) {
  const boxes = points.map((point) => [point.x - 5, point.y - 5, point.x + 5, point.y + 5]);
  const free = (box) => box[0] > FRAME.left && box[2] < FRAME.right + 60 && box[1] > 0 && box[3] < FRAME.bottom &&
    !boxes.some((other) => box[0] < other[2] && box[2] > other[0] && box[1] < other[3] && box[3] > other[1]);
  return [...points].sort((one, other) => other.ours - one.ours).map((point) => {
    const width = point.name.length * (point.ours ? 6.5 : 5.8) + 3;
    const places = [[8, 4, "start"], [-8, 4, "end"], [0, -9, "middle"], [0, 17, "middle"], [7, -7, "start"], [7, 14, "start"], [-7, -7, "end"], [-7, 14, "end"]];
    const far = [34, 48, 62, 76, 90].flatMap((dy) => [[0, dy, "middle"], [0, 6 - dy, "middle"]]);
    for (const [dx, dy, anchor] of point.ours ? [...places, ...far] : places) {
      const left = point.x + dx - (anchor === "end" ? width : anchor === "middle" ? width / 2 : 0);
      const box = [left, point.y + dy - 10, left + width, point.y + dy + 3];
      if (free(box)) {
        boxes.push(box);
        const line = Math.abs(dy) < 20 ? "" : `<path class="leader" d="M${point.x.toFixed(1)} ${point.y.toFixed(1)}v${dy > 0 ? dy - 12 : dy + 5}"/>`;
        return { point, text: `${line}<text x="${(point.x + dx).toFixed(1)}" y="${(point.y + dy).toFixed(1)}" text-anchor="${anchor}">${safe(point.name)}</text>` };
      }
    }
    return { point, text: "" };
  });
}

function scatter(suite, lines) {
  const known = lines.filter((line) => suite.models[line.model].parameters != null);
  const inside = known.filter((line) => line.skill.crps > -0.15);
  const decades = inside.map((line) => Math.log10(suite.models[line.model].parameters)).filter(Number.isFinite);
  byId("figure").hidden = inside.length < 2 || !decades.length;
  if (byId("figure").hidden) return;
  const first = Math.floor(Math.min(...decades)), last = Math.max(first + 1, Math.ceil(Math.max(...decades)));
  const skills = inside.map((line) => line.skill.crps);
  const low = Math.floor(Math.min(0, ...skills) * 10) / 10, high = Math.ceil(Math.max(0.1, ...skills) * 10) / 10;
  const across = (value) => (value ? FRAME.start + (FRAME.right - FRAME.start) * (Math.log10(value) - first) / (last - first) : FRAME.zero);
  const up = (value) => FRAME.bottom - (FRAME.bottom - FRAME.top) * (value - low) / (high - low);
  const steps = Array.from({ length: Math.round((high - low) * 10) + 1 }, (_, step) => low + step / 10);
  const rules = steps.map((value) => `<path class="${Math.abs(value) < 1e-9 ? "zero" : "axis"}" d="M${FRAME.left} ${up(value).toFixed(1)}H${FRAME.right}"/><text x="${FRAME.left - 6}" y="${(up(value) + 4).toFixed(1)}" text-anchor="end">${fixed(value, 1)}</text>`);
  const ticks = Array.from({ length: last - first + 1 }, (_, step) => 10 ** (first + step)).map((value) =>
    `<path class="axis" d="M${across(value)} ${FRAME.bottom}v5"/><text x="${across(value)}" y="${FRAME.bottom + 18}" text-anchor="middle">${size(value)}</text>`);
  const nothing = `<path class="axis" d="M${FRAME.zero} ${FRAME.bottom}v5"/><text x="${FRAME.zero}" y="${FRAME.bottom + 18}" text-anchor="middle">none</text>`;
  const points = inside.map((line) => {
    const model = suite.models[line.model];
    return { name: model.name, ours: model.ours, leak: model.leak === "yes", x: across(model.parameters), y: up(line.skill.crps), title: `${model.name}: ${size(model.parameters)} parameters, CRPS skill ${fixed(line.skill.crps)}` };
  });
  const marks = labels(points).reverse().map(({ point, text }) =>
    `<g class="${point.ours ? "ours" : ""}"><circle class="${point.leak ? "leak" : ""}" cx="${point.x.toFixed(1)}" cy="${point.y.toFixed(1)}" r="${point.ours ? 5 : 3.6}"><title>${safe(point.title)}</title></circle>${text}</g>`);
  byId("scatter").innerHTML = `<svg viewBox="0 0 800 442" role="img" aria-label="CRPS skill against number of parameters">${rules.join("")}${ticks.join("")}${nothing}<text x="${(FRAME.start + FRAME.right) / 2}" y="${FRAME.bottom + 36}" text-anchor="middle">parameters</text>${marks.join("")}</svg>`;
  const names = (list) => list.map((line) => suite.models[line.model].name).join(", ");
  const below = known.filter((line) => !inside.includes(line)), unknown = lines.filter((line) => !known.includes(line));
  byId("scatter-note").textContent = [
    "Filled: this project. Dashed: test data in training. A point without a label shows its name under the pointer.",
    below.length ? `Below the frame: ${below.map((line) => `${suite.models[line.model].name} (${fixed(line.skill.crps, 2)})`).join(", ")}.` : "",
    unknown.length ? `Not drawn, parameters unknown: ${names(unknown)}.` : "",
  ].join(" ");
}
