"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const { tasks, names, metrics, trials, points, bands } = data;
const byId = id => document.getElementById(id);
const pointNames = Object.keys(points);
const COLOURS = ["#4f46b8", "#d1661f", "#16856b", "#b3361e", "#8a5a00", "#1f7fbf", "#9c3f8f", "#5c6b00"];
const POINT_COLOUR = { best: "var(--best)", recipe: "#1f5fbf", uniform: "light-dark(#111, #f2f2f2)", proportional: "#8a5a00" };
const colourOf = name => POINT_COLOUR[name] || "#555";

/* ---- small helpers ---- */
function node(tag, attributes = {}, parent = null, text = null) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== null) made.textContent = text;
  if (parent) parent.append(made);
  return made;
}
function html(tag, properties = {}, parent = null) {
  const made = Object.assign(document.createElement(tag), properties);
  if (parent) parent.append(made);
  return made;
}
const canvas = (id, width, height) => {
  const holder = byId(id);
  holder.replaceChildren();
  return node("svg", { viewBox: `0 0 ${width} ${height}`, style: `min-width:${Math.min(width, 1250) * 0.6}px;max-width:${width}px` }, holder);
};
const text = (name, value) => value === null ? "" : value.toFixed(data.digits[name]);
const percent = share => (100 * share).toFixed(1) + " %";
const isMin = name => data.is_min[name];
const cost = (name, value) => isMin(name) ? value : -value;
const better = name => isMin(name) ? "smaller is better" : "larger is better";
function band(name, value) {
  const { levels, colours } = bands[name];
  if (value === null) return "transparent";
  let at = 0;
  while (at < colours.length - 1 && value >= levels[at + 1]) at++;
  return colours[at];
}
function select(id, choices, change, chosen = choices[0]) {
  const made = byId(id);
  for (const choice of choices) html("option", { value: choice, textContent: choice, selected: choice === chosen }, made);
  made.onchange = change;
  return made;
}
function sentence(parent, words) { // names stand between backquotes
  words.split("`").forEach((piece, at) => at % 2 ? html("code", { textContent: piece }, parent) : parent.append(piece));
}
function ticks([low, high], count = 5, isLog = false) {
  if (isLog) {
    const powers = [...Array(40).keys()].map(at => 10 ** (at - 20)), all = powers.flatMap(one => [1, 2, 5].map(factor => +(factor * one).toPrecision(3)));
    const within = list => list.filter(one => one >= low && one <= high);
    return within(within(all).length > 2 * count ? powers.map(one => +one.toPrecision(1)) : all);
  }
  const rough = (high - low) / count || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map(factor => factor * power).find(one => one >= rough);
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + 1e-9 * step; at++) found.push(+(at * step).toPrecision(10));
  return found;
}
function extent(values, isLog = false) {
  const known = values.filter(value => value !== null && (!isLog || value > 0));
  const low = Math.min(...known), high = Math.max(...known), margin = 0.05 * (high - low) || 0.5, factor = (high / low) ** 0.05;
  return isLog ? [low / factor, high * factor] : [low - margin, high + margin];
}
const linear = ([low, high], [start, end]) => value => start + (value - low) / (high - low) * (end - start);
function scaleOf(range, ends, isLog) { // values outside a logarithmic range are drawn at its ends
  const onLine = linear(isLog ? range.map(Math.log) : range, ends);
  return isLog ? value => onLine(Math.log(Math.max(range[0], Math.min(range[1], value)))) : onLine;
}

/* ---- one trial is marked everywhere at once ---- */
const tip = byId("tip");
function describe(trial) {
  const shares = tasks.map((task, at) => `${task} ${percent(trial.shares[at])}`).join("  ");
  const values = names.map(name => `${name} ${text(name, trial.values[name]) || "not measured"}`).join("\n");
  return `trial ${trial.run}${trial.purpose ? ", " + trial.purpose : ""}\n${shares}\n${values}`;
}
function mark(run) {
  for (const one of document.querySelectorAll("[data-run]")) one.classList.toggle("on", one.dataset.run === run);
}
function show(event, words) {
  tip.textContent = words;
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  tip.style.left = Math.min(event.clientX + 14, innerWidth - box.width - 8) + "px";
  tip.style.top = Math.min(event.clientY + 14, innerHeight - box.height - 8) + "px";
}
function hide() { tip.hidden = true; mark(null); }
function link(element, trial) {
  element.dataset.run = trial.run;
  element.classList.add("trial");
  element.addEventListener("mousemove", event => { mark(trial.run); show(event, describe(trial)); });
  element.addEventListener("mouseleave", hide);
}
function pointMark(parent, name, x, y) {
  const size = name === "best" ? 11 : 6;
  const shape = {
    best: [...Array(10).keys()].map(at => {
      const radius = at % 2 ? size * 0.42 : size, angle = Math.PI * (at / 5 - 0.5);
      return `${x + radius * Math.cos(angle)},${y + radius * Math.sin(angle)}`;
    }).join(" "),
    recipe: `${x},${y - size} ${x + size},${y} ${x},${y + size} ${x - size},${y}`,
    proportional: `${x},${y - size} ${x + size},${y + size} ${x - size},${y + size}`,
  }[name] || `${x - 5},${y - 5} ${x + 5},${y - 5} ${x + 5},${y + 5} ${x - 5},${y + 5}`;
  const made = node("polygon", { points: shape, fill: colourOf(name), class: "named" }, parent);
  made.addEventListener("mousemove", event => show(event, `${name}\n` + tasks.map((task, at) => `${task} ${percent(points[name][at])}`).join("  ")));
  made.addEventListener("mouseleave", hide);
}
function legend(parent, x, y) {
  pointNames.forEach((name, at) => {
    pointMark(parent, name, x, y + 20 * at);
    node("text", { x: x + 16, y: y + 20 * at + 4 }, parent, name);
  });
}
function colourBar(parent, name, x, y, height) {
  const { levels, colours } = bands[name], size = height / colours.length;
  const labelled = Math.ceil(levels.length / 8);
  colours.forEach((colour, at) => node("rect", { x, y: y + height - size * (at + 1), width: 14, height: size + 0.5, fill: colour }, parent));
  levels.forEach((level, at) => {
    if (at % labelled === 0) node("text", { x: x + 20, y: y + height - size * at + 4 }, parent, +level.toPrecision(6));
  });
}

/* ---- ternary map ---- */
const WIDTH = 560, SIDE = 400, LEFT = 46, TOP = 40, RISE = SIDE * Math.sqrt(3) / 2;
const place = ([a, b, c]) => [LEFT + SIDE * (c + a / 2), TOP + RISE * (1 - a)];
const CORNERS = [[1, 0, 0], [0, 1, 0], [0, 0, 1]];
const outline = polygon => "M" + polygon.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join("L") + "Z";
function clip(polygon, height) { // the part of a polygon where a linear function is not negative
  const found = [];
  polygon.forEach((end, at) => {
    const start = polygon.at(at - 1), [a, b] = [height(start), height(end)];
    if (a < 0 !== b < 0 && a !== b && Number.isFinite(a) && Number.isFinite(b)) {
      const part = a / (a - b);
      found.push(start.map((value, one) => value + part * (end[one] - value)));
    }
    if (b >= 0) found.push(end);
  });
  return found;
}
function drawBounds(svg) {
  const inside = data.bounds.reduce((polygon, [low, high], at) => clip(clip(polygon, one => one[at] - low + 1e-9), one => high - one[at] + 1e-9), CORNERS);
  if (data.bounds.every(([low, high]) => low <= 0 && high >= 1)) return;
  node("path", { d: outline(CORNERS.map(place)) + outline(inside.map(place)), "fill-rule": "evenodd", fill: "var(--card)", opacity: 0.82 }, svg);
  node("path", { d: outline(inside.map(place)), fill: "none", stroke: "#1b1f27", "stroke-dasharray": "4 3" }, svg);
}
function drawMap() {
  const name = byId("map-metric").value, svg = canvas("map", WIDTH, TOP + RISE + 44);
  const { divisions, mean } = data.grid, { levels, colours } = bands[name], paths = colours.map(() => "");
  const index = (i, j) => i * (divisions + 1) - i * (i - 1) / 2 + j;
  const corner = (i, j) => [...place([i / divisions, j / divisions, 1 - (i + j) / divisions]), mean[name][index(i, j)]];
  const triangle = (...corners) => {
    const points3 = corners.map(one => corner(...one)), values = points3.map(one => one[2]);
    colours.forEach((_, at) => { // the part of the triangle that lies in the band
      const low = at ? levels[at] : -Infinity, high = at < colours.length - 1 ? levels[at + 1] : Infinity;
      if (Math.max(...values) < low || Math.min(...values) >= high) return;
      const piece = clip(clip(points3, one => one[2] - low), one => high - one[2]);
      if (piece.length > 2) paths[at] += outline(piece);
    });
  };
  for (let i = 0; i < divisions; i++)
    for (let j = 0; j < divisions - i; j++) {
      triangle([i, j], [i + 1, j], [i, j + 1]);
      if (j < divisions - i - 1) triangle([i + 1, j], [i, j + 1], [i + 1, j + 1]);
    }
  paths.forEach((path, at) => node("path", { d: path, fill: colours[at], stroke: colours[at], "stroke-width": 0.6 }, svg));
  drawBounds(svg);
  for (const share of [0.2, 0.4, 0.6, 0.8])
    for (let at = 0; at < 3; at++) {
      const start = [0, 0, 0], end = [0, 0, 0];
      start[at] = end[at] = share;
      start[(at + 2) % 3] = end[(at + 1) % 3] = 1 - share;
      const [x1, y1] = place(start), [x2, y2] = place(end);
      node("line", { x1, y1, x2, y2, stroke: "#fff", "stroke-width": 0.6, opacity: 0.6 }, svg);
      const [dx, dy, anchor] = [[6, 4, "start"], [-6, 0, "end"], [0, 15, "middle"]][at];
      node("text", { x: x1 + dx, y: y1 + dy, "text-anchor": anchor, class: "dim" }, svg, 100 * share);
    }
  node("polygon", { points: CORNERS.map(place).join(" "), fill: "none", class: "axis" }, svg);
  [[0, -12], [-8, 26], [8, 26]].forEach(([dx, dy], at) => {
    const [x, y] = place([0, 1, 2].map(one => +(one === at)));
    node("text", { x: x + dx, y: y + dy, "text-anchor": "middle", "font-weight": 700 }, svg, tasks[at] + " %");
  });
  const surface = node("polygon", { points: CORNERS.map(place).join(" "), fill: "transparent" }, svg);
  surface.addEventListener("mousemove", event => readMap(event, svg, name));
  for (const trial of trials) {
    const [x, y] = place(trial.shares);
    link(node("circle", { cx: x, cy: y, r: 5, fill: band(name, trial.values[name]), class: "dot" }, svg), trial);
  }
  for (const one of pointNames) pointMark(svg, one, ...place(points[one]));
  colourBar(svg, name, WIDTH - 84, TOP + 90, 220);
  legend(svg, 16, TOP + 6);
  byId("map-note").textContent = `${name}: ${better(name)}. Shares in percent; circles are trials in the colour of their measured value. ` + data.noise_note + " Faded: outside the bounds.";
}
function readMap(event, svg, name) {
  const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
  const a = 1 - (at.y - TOP) / RISE, c = (at.x - LEFT) / SIDE - a / 2, b = 1 - a - c;
  if (Math.min(a, b, c) < 0) return;
  const { divisions, mean, deviation } = data.grid;
  const i = Math.min(divisions, Math.round(a * divisions)), j = Math.max(0, Math.min(divisions - i, Math.round(b * divisions)));
  const index = i * (divisions + 1) - i * (i - 1) / 2 + j, shares = [i / divisions, j / divisions, 1 - (i + j) / divisions];
  byId("map-readout").textContent = tasks.map((task, one) => `${task} ${percent(shares[one])}`).join(", ") + ": " + names.map(one =>
    `${one} ${text(one, mean[one][index])} ± ${text(one, 1.96 * deviation[one][index])}`).join(", ");
}

/* ---- best mixture for other weights ---- */
const wishes = { weights: {}, limits: tasks.map(() => [0, 1]) };
function slider(parent, label, value, maximum, step, change, unit = "") {
  const row = html("label", { className: "row" }, parent);
  html("span", { textContent: label }, row);
  const input = html("input", { type: "range", min: 0, max: maximum, step, value }, row), shown = html("span", { textContent: value + unit }, row);
  input.oninput = () => { shown.textContent = input.value + unit; change(+input.value); drawWish(); };
}
function buildWish() {
  html("h3", { textContent: "weights" }, byId("weights"));
  for (const metric of metrics) {
    wishes.weights[metric] = data.weights[metric];
    slider(byId("weights"), metric, data.weights[metric], Math.max(2, data.weights[metric] * 2), 0.05, value => { wishes.weights[metric] = value; });
  }
  html("h3", { textContent: "shares" }, byId("limits"));
  tasks.forEach((task, at) => {
    slider(byId("limits"), `${task}, at least`, 0, 100, 1, value => { wishes.limits[at][0] = value / 100; }, " %");
    slider(byId("limits"), `${task}, at most`, 100, 100, 1, value => { wishes.limits[at][1] = value / 100; }, " %");
  });
  drawWish();
}
function drawWish() {
  const holder = byId("wish"), { shares, mean, deviation } = data.candidates;
  holder.replaceChildren();
  const total = Object.values(wishes.weights).reduce((sum, one) => sum + one, 0);
  const allowed = shares.map((_, at) => at).filter(at => shares[at].every((share, task) => share >= wishes.limits[task][0] - 1e-9 && share <= wishes.limits[task][1] + 1e-9));
  if (!allowed.length || !total) {
    html("p", { className: "note", textContent: total ? "No predicted mixture is within these limits." : "All weights are 0: give one metric a weight." }, holder);
    return;
  }
  const score = at => metrics.reduce((sum, one) => sum + wishes.weights[one] * cost(one, mean[one][at]), 0);
  const best = allowed.reduce((left, right) => score(right) < score(left) ? right : left);
  const bar = html("div", { className: "bar" }, holder);
  tasks.forEach((task, at) => html("span", { textContent: `${task} ${percent(shares[best][at])}`, title: `${task} ${percent(shares[best][at])}`,
    style: `flex:${shares[best][at]} 0 0;background:${COLOURS[at % COLOURS.length]}` }, bar));
  html("p", { className: "note", textContent: tasks.map((task, at) => `${task} ${percent(shares[best][at])}`).join(", ") }, holder);
  const reference = data.reference, table = html("table", {}, holder), head = html("tr", {}, table);
  for (const cell of ["metric", "predicted", "95 % of one run", `against ${reference.name}`]) html("th", { textContent: cell }, head);
  for (const metric of metrics) {
    const row = html("tr", {}, table), value = mean[metric][best], half = 1.96 * deviation[metric][best], change = value - reference.mean[metric];
    const halfOfChange = 1.96 * Math.hypot(deviation[metric][best], reference.deviation[metric]);
    const isNamed = data.threshold[metric] !== null && Math.abs(change) >= data.threshold[metric] && Math.abs(change) > halfOfChange;
    for (const cell of [metric, text(metric, value), `${text(metric, value - half)} to ${text(metric, value + half)}`]) html("td", { textContent: cell }, row);
    html("td", { textContent: isNamed ? `${text(metric, Math.abs(change))} ${cost(metric, change) < 0 ? "better" : "worse"}` : "within noise",
      style: isNamed ? `color:var(--${cost(metric, change) < 0 ? "better" : "worse"})` : "color:var(--dim)" }, row);
  }
}

/* ---- parallel coordinates ---- */
const chosen = {};
function isChosen(trial) {
  return Object.entries(chosen).every(([axis, [low, high]]) => {
    const value = axis < tasks.length ? trial.shares[axis] : trial.values[names[axis - tasks.length]];
    return value !== null && value >= low && value <= high;
  });
}
function drawLines() {
  const colour = byId("lines-metric").value, axes = [...tasks, ...names], step = Math.max(92, Math.min(170, 1180 / axes.length));
  const width = step * axes.length + 90, height = 330, top = 44, bottom = height - 16, svg = canvas("lines", width, height);
  svg.style.minWidth = Math.min(width, 78 * axes.length) + "px";
  const most = Math.max(...trials.flatMap(trial => trial.shares));
  const isLog = axes.map((axis, at) => at >= tasks.length && data.is_log[axis]);
  const ranges = axes.map((axis, at) => at < tasks.length ? [0, most] : extent(trials.map(trial => trial.values[axis]), isLog[at]));
  const scales = axes.map((axis, at) => scaleOf(ranges[at], at >= tasks.length && isMin(axis) ? [top, bottom] : [bottom, top], isLog[at]));
  const known = trials.filter(trial => names.every(name => trial.values[name] !== null));
  const x = at => 40 + step * at;
  const path = (shares, values) => axes.map((axis, at) => `${at ? "L" : "M"}${x(at)},${scales[at](at < tasks.length ? shares[at] : values[axis]).toFixed(1)}`).join("");
  known.sort((one, other) => cost(colour, other.values[colour]) - cost(colour, one.values[colour]));
  for (const trial of known) {
    const line = node("path", { d: path(trial.shares, trial.values), class: "line", stroke: band(colour, trial.values[colour]) }, svg);
    link(line, trial);
    if (!isChosen(trial)) line.classList.add("off");
  }
  if (data.best) node("path", { d: path(points.best, data.best), fill: "none", stroke: colourOf("best"), "stroke-width": 2.5, "stroke-dasharray": "7 3" }, svg);
  axes.forEach((axis, at) => {
    node("line", { x1: x(at), x2: x(at), y1: top, y2: bottom, class: "axis" }, svg);
    node("text", { x: x(at), y: top - 26 + 12 * (at % 2), "text-anchor": "middle", "font-weight": 600 }, svg, at < tasks.length ? axis + " %" : axis);
    for (const tick of ticks(ranges[at], 4, isLog[at])) {
      node("line", { x1: x(at) - 3, x2: x(at) + 3, y1: scales[at](tick), y2: scales[at](tick), class: "axis" }, svg);
      node("text", { x: x(at) + 7, y: scales[at](tick) + 4, class: "dim", "paint-order": "stroke", stroke: "var(--card)", "stroke-width": 3 }, svg, at < tasks.length ? +(100 * tick).toPrecision(4) : tick);
    }
    if (chosen[at]) {
      const [one, other] = chosen[at].map(scales[at]).sort((a, b) => a - b);
      node("rect", { x: x(at) - 9, width: 18, y: one, height: Math.max(1, other - one), class: "brush" }, svg);
    }
    const hit = node("rect", { x: x(at) - 12, width: 24, y: top, height: bottom - top, class: "hit" }, svg);
    hit.onpointerdown = event => brush(event, svg, at, scales[at], ranges[at], [top, bottom], isLog[at]);
  });
  colourBar(svg, colour, x(axes.length - 1) + 52, top, bottom - top);
}
function brush(event, svg, axis, scale, [low, high], [top, bottom], isLog) {
  const height = one => {
    const y = new DOMPoint(one.clientX, one.clientY).matrixTransform(svg.getScreenCTM().inverse()).y;
    return Math.max(top, Math.min(bottom, y));
  };
  const fraction = y => (y - scale(low)) / (scale(high) - scale(low));
  const back = y => isLog ? low * (high / low) ** fraction(y) : low + fraction(y) * (high - low);
  const start = height(event);
  const move = one => { chosen[axis] = [back(start), back(height(one))].sort((a, b) => a - b); };
  const end = one => {
    removeEventListener("pointerup", end);
    if (Math.abs(height(one) - start) < 3) delete chosen[axis]; else move(one);
    drawLines();
    drawTable();
  };
  addEventListener("pointerup", end);
}

/* ---- slices ---- */
function drawSlices() {
  const point = byId("slices-point").value, left = 58, gap = 16, height = 150;
  const width = Math.max(180, Math.min(380, (1230 - left) / tasks.length - gap));
  const svg = canvas("slices", left + tasks.length * (width + gap), names.length * (height + 44) + 6);
  svg.style.minWidth = Math.min(1200, 190 * tasks.length) + "px";
  names.forEach((name, row) => {
    const curves = data.slices[point][name], y0 = row * (height + 44) + 20;
    const isLog = data.is_log[name], known = curves.filter(curve => curve);
    const range = extent(known.flatMap(curve => curve.mean.flatMap((mean, at) => isLog ? [mean] : [mean - curve.half[at], mean + curve.half[at]])), isLog);
    const y = scaleOf(range, [y0 + height, y0], isLog);
    node("text", { x: 4, y: y0 - 6, "font-weight": 600 }, svg, `${name} (${better(name)})`);
    for (const tick of ticks(range, 5, isLog)) node("text", { x: left - 8, y: y(tick) + 4, "text-anchor": "end", class: "dim" }, svg, tick);
    curves.forEach((curve, at) => {
      const x0 = left + at * (width + gap), colour = COLOURS[at % COLOURS.length];
      for (const tick of ticks(range, 5, isLog)) node("line", { x1: x0, x2: x0 + width, y1: y(tick), y2: y(tick), class: "grid" }, svg);
      if (!curve) { node("text", { x: x0 + width / 2, y: y0 + height / 2, "text-anchor": "middle", class: "dim" }, svg, `share of ${tasks[at]} is fixed`); return; }
      const x = linear([0, Math.max(...data.bounds.map(one => one[1]))], [x0, x0 + width]);
      if (data.threshold[name] !== null) {
        const middle = [...curve.mean].sort((a, b) => a - b)[curve.mean.length >> 1], half = data.threshold[name] / 2;
        node("rect", { x: x0, width, y: y(middle + half), height: Math.abs(y(middle - half) - y(middle + half)), fill: "var(--band)" }, svg);
      }
      const line = values => values.map((value, one) => `${x(curve.shares[one]).toFixed(1)},${y(value).toFixed(1)}`);
      const upper = line(curve.mean.map((mean, one) => mean + curve.half[one])), lower = line(curve.mean.map((mean, one) => mean - curve.half[one]));
      node("polygon", { points: [...upper, ...lower.reverse()].join(" "), fill: colour, opacity: 0.2 }, svg);
      node("polyline", { points: line(curve.mean).join(" "), fill: "none", stroke: colour, "stroke-width": 2 }, svg);
      for (const one of pointNames) node("line", { x1: x(points[one][at]), x2: x(points[one][at]), y1: y0, y2: y0 + height, stroke: colourOf(one), "stroke-dasharray": "2 3" }, svg);
      node("line", { x1: x0, x2: x0 + width, y1: y0 + height, y2: y0 + height, class: "axis" }, svg);
      for (const tick of [0, 0.2, 0.4, 0.6, 0.8]) if (x(tick) <= x0 + width - 30) node("text", { x: x(tick), y: y0 + height + 13, "text-anchor": "middle", class: "dim" }, svg, 100 * tick);
      node("text", { x: x0 + width, y: y0 + height + 13, "text-anchor": "end" }, svg, tasks[at] + " %");
      const hit = node("rect", { x: x0, width, y: y0, height, fill: "transparent" }, svg);
      hit.addEventListener("mousemove", event => {
        const share = (new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse()).x - x0) / width * Math.max(...data.bounds.map(one => one[1]));
        const near = curve.shares.reduce((best, one, index) => Math.abs(one - share) < Math.abs(curve.shares[best] - share) ? index : best, 0);
        show(event, `${tasks[at]} ${percent(curve.shares[near])}\n${name} ${text(name, curve.mean[near])} ± ${text(name, curve.half[near])}`);
      });
      hit.addEventListener("mouseleave", hide);
    });
  });
}

/* ---- transfer matrix ---- */
function drawEffects() {
  const table = byId("effects"), matrix = data.effects[byId("effects-point").value];
  table.replaceChildren();
  const head = html("tr", {}, table);
  html("th", {}, head);
  for (const task of tasks) html("th", { textContent: "more " + task }, head);
  for (const name of names) {
    const row = html("tr", {}, table);
    html("th", { textContent: name }, row);
    for (const effect of matrix[name]) {
      const cell = html("td", { className: effect.is_named ? "" : "flat", textContent: effect.is_named ? signed(name, effect.change) : effect.why }, row);
      if (!effect.is_named) continue;
      html("small", { textContent: `${signed(name, effect.low)} to ${signed(name, effect.high)}` }, cell);
      cell.style.background = `color-mix(in srgb, var(--${effect.is_better ? "better" : "worse"}) ${Math.round(25 + 60 * effect.strength)}%, var(--card))`;
    }
  }
}
const signed = (name, value) => (value > 0 ? "+" : "") + text(name, value);

/* ---- Pareto front ---- */
function frontOf(pair, rows) {
  const sorted = rows.map(row => pair.map((name, at) => cost(name, row[at]))).map((costs, at) => [costs, rows[at]]).sort((a, b) => a[0][0] - b[0][0] || a[0][1] - b[0][1]);
  const found = [];
  let least = Infinity;
  for (const [[, second], row] of sorted) if (second < least) { least = second; found.push(row); }
  return found;
}
function drawFront() {
  const pair = [byId("front-x").value, byId("front-y").value], width = 560, height = 430, svg = canvas("front", width, height);
  const measured = trials.filter(trial => pair.every(name => trial.values[name] !== null));
  const predicted = data.candidates.shares.map((_, at) => pair.map(name => data.candidates.mean[name][at]));
  const front = frontOf(pair, predicted);
  const isLog = pair.map(name => data.is_log[name]);
  const ranges = pair.map((name, at) => extent([...measured.map(trial => trial.values[name]), ...front.map(row => row[at])], isLog[at]));
  const x = scaleOf(ranges[0], isMin(pair[0]) ? [62, width - 14] : [width - 14, 62], isLog[0]), y = scaleOf(ranges[1], isMin(pair[1]) ? [height - 44, 12] : [12, height - 44], isLog[1]);
  for (const tick of ticks(ranges[0], 5, isLog[0])) { node("line", { x1: x(tick), x2: x(tick), y1: 12, y2: height - 44, class: "grid" }, svg); node("text", { x: x(tick), y: height - 28, "text-anchor": "middle", class: "dim" }, svg, tick); }
  for (const tick of ticks(ranges[1], 5, isLog[1])) { node("line", { x1: 62, x2: width - 14, y1: y(tick), y2: y(tick), class: "grid" }, svg); node("text", { x: 56, y: y(tick) + 4, "text-anchor": "end", class: "dim" }, svg, tick); }
  node("text", { x: (62 + width) / 2, y: height - 8, "text-anchor": "middle" }, svg, `${pair[0]} (${better(pair[0])})`);
  node("text", { x: 0, y: 0, "text-anchor": "middle", transform: `translate(13 ${height / 2 - 16}) rotate(-90)` }, svg, `${pair[1]} (${better(pair[1])})`);
  node("polyline", { points: front.map(row => `${x(row[0])},${y(row[1])}`).join(" "), fill: "none", stroke: "var(--accent)", "stroke-width": 2 }, svg);
  for (const row of front) {
    const dot = node("circle", { cx: x(row[0]), cy: y(row[1]), r: 3.2, fill: "var(--accent)", stroke: "transparent", "stroke-width": 8 }, svg);
    dot.addEventListener("mousemove", () => {
      const shares = data.candidates.shares[predicted.indexOf(row)];
      byId("front-readout").textContent = "predicted: " + pair.map((name, at) => `${name} ${text(name, row[at])}`).join(", ") + " with " + tasks.map((task, at) => `${task} ${percent(shares[at])}`).join(", ");
    });
  }
  for (const trial of measured) {
    const [cx, cy] = [x(trial.values[pair[0]]), y(trial.values[pair[1]])];
    pair.forEach((name, at) => {
      if (data.threshold[name] === null) return;
      const half = Math.abs((at ? y : x)(trial.values[name] + data.threshold[name]) - (at ? y : x)(trial.values[name]));
      node("line", { x1: at ? cx : cx - half, x2: at ? cx : cx + half, y1: at ? cy - half : cy, y2: at ? cy + half : cy, stroke: "var(--dim)", opacity: 0.45 }, svg);
    });
    link(node("circle", { cx, cy, r: 5, fill: "light-dark(#b9bfca, #6b7280)", class: "dot" }, svg), trial);
  }
  for (const name of pointNames) pointMark(svg, name, x(data.predicted[name][pair[0]]), y(data.predicted[name][pair[1]]));
  legend(svg, width - 110, 24);
  byId("front-readout").textContent = "Circles: measured, with twice the noise of one run. Line: predicted front; point at it for its mixtures.";
}

/* ---- table ---- */
let sorted = { column: 0, isUp: true };
function columns() {
  const found = [["trial", trial => trial.run, trial => trial.run]];
  if (trials.some(trial => trial.purpose)) found.push(["purpose", trial => trial.purpose, trial => trial.purpose]);
  tasks.forEach((task, at) => found.push([task + " %", trial => trial.shares[at], trial => (100 * trial.shares[at]).toFixed(1)]));
  for (const key of Object.keys(trials[0].settings)) found.push([key, trial => trial.settings[key], trial => String(trial.settings[key])]);
  for (const name of names) found.push([name, trial => trial.values[name], trial => text(name, trial.values[name])]);
  return found;
}
function drawTable() {
  const table = byId("table"), all = columns(), head = html("tr", {});
  table.replaceChildren(head);
  all.forEach(([title], at) => {
    const cell = html("th", { textContent: title + (sorted.column === at ? (sorted.isUp ? " \u25b4" : " \u25be") : "") }, head);
    cell.onclick = () => { sorted = { column: at, isUp: sorted.column === at ? !sorted.isUp : true }; drawTable(); };
  });
  const key = all[sorted.column][1], sign = sorted.isUp ? 1 : -1;
  const shown = trials.filter(isChosen).sort((one, other) => {
    const [a, b] = [key(one), key(other)];
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * (a < b ? -1 : a > b ? 1 : 0);
  });
  for (const trial of shown) {
    const row = html("tr", {}, table);
    for (const [, , words] of all) html("td", { textContent: words(trial) }, row);
    row.dataset.run = trial.run;
    row.onmouseenter = () => mark(trial.run);
    row.onmouseleave = () => mark(null);
  }
}

/* ---- start ---- */
byId("subtitle").textContent = data.subtitle;
for (const [heading, sentences] of Object.entries(data.sections)) {
  html("h3", { textContent: heading }, byId("answers"));
  const list = html("ul", {}, byId("answers"));
  for (const words of sentences) sentence(html("li", {}, list), words);
}
select("map-metric", names, drawMap);
select("lines-metric", names, drawLines);
select("slices-point", pointNames, drawSlices);
select("effects-point", pointNames, drawEffects, data.reference.name);
select("front-x", metrics, drawFront);
select("front-y", metrics, drawFront, metrics[1]);
byId("clear").onclick = () => { for (const axis of Object.keys(chosen)) delete chosen[axis]; drawLines(); drawTable(); };
sorted.column = columns().findIndex(([title]) => title === names[0]);
sorted.isUp = isMin(names[0]);
if (data.grid) drawMap(); else { byId("map-card").hidden = true; byId("explore-card").className = "wide"; }
if (metrics.length > 1) drawFront(); else byId("front-card").hidden = true;
buildWish();
drawLines();
drawSlices();
drawEffects();
drawTable();
