"use strict";

// The data of the page; the curves of a run are unpacked when it is first shown.
const page = JSON.parse(document.getElementById("data").textContent);
const unpacked = new Map();
const panels = Object.keys(page.bokeh.roots);
let shown = [];  // names of the runs that are drawn
let drawn = [];  // their curves: {panel, run, label, style, x0, stride, values}

async function curvesOf(name) {
  if (!unpacked.has(name)) {
    const run = page.runs[name];
    const bytes = Uint8Array.from(atob(run.data), letter => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const values = new Float32Array(await new Response(stream).arrayBuffer());
    unpacked.set(name, run.curves.map(([panel, style, label, mode], i) => ({
      panel, style, label, mode, run: name, first: run.first, stride: run.stride,
      values: values.subarray(i * run.points, (i + 1) * run.points),
    })));
  }
  return unpacked.get(name);
}

// The line of a curve: as in the figures if one run is shown, else in the colour of its run.
function line(curve) {
  const style = page.styles[curve.style];
  const order = shown.length > 1 ? shown.indexOf(curve.run) : curve.mode;
  const own = shown.length > 1 ? null : style.color;
  return {...style, color: own ?? page.colors[order % page.colors.length]};
}

function redraw() {
  const models = Bokeh.documents[0];
  for (const name of panels) {
    const columns = {xs: [], ys: [], color: [], width: [], dash: [], alpha: []};
    for (const curve of drawn.filter(curve => curve.panel === name)) {
      const {color, width, dash, alpha} = line(curve);
      columns.xs.push(Float64Array.from(curve.values, (_, i) => curve.first + i * curve.stride));
      columns.ys.push(curve.values);
      columns.color.push(color);
      columns.width.push(width);
      columns.dash.push(dash);
      columns.alpha.push(alpha);
    }
    models.get_model_by_name(`${name} curves`).data = columns;
    document.getElementById(`box-${name}`).hidden = columns.xs.length === 0;
  }
  const last = Math.max(...drawn.map(curve => curve.first + (curve.values.length - 1) * curve.stride));
  const first = Math.min(...drawn.map(curve => curve.first));
  models.get_model_by_name("steps").setv({start: first, end: last, reset_start: first, reset_end: last});
}

function element(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  made.textContent = text ?? "";
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function legends() {
  for (const name of panels) {
    const list = document.getElementById(`legend-${name}`);
    list.replaceChildren(...drawn.filter(curve => curve.panel === name).map(curve => {
      const {color, width, dash, alpha} = line(curve);
      const item = element("li");
      item.innerHTML = `<svg width="26" height="8"><line x1="0" y1="4" x2="26" y2="4" stroke="${color}" `
        + `stroke-width="${width}" stroke-dasharray="${dash}" opacity="${alpha}"/></svg>`;
      item.append(element("span", shown.length > 1 ? `${curve.run}: ${curve.label}` : curve.label), element("output"));
      return item;
    }));
  }
}

const digits = value => Number.isFinite(value) ? String(Number(value.toPrecision(3))) : "–";

// Shows the values of all curves at a step, in all legends.
function readout(step) {
  for (const name of panels) {
    const values = document.querySelectorAll(`#legend-${name} output`);
    drawn.filter(curve => curve.panel === name).forEach((curve, i) => {
      const at = Math.round((step - curve.first) / curve.stride);
      values[i].textContent = at >= 0 && at < curve.values.length ? digits(curve.values[at]) : "–";
    });
  }
  document.getElementById("step").textContent = Number.isFinite(step) ? `step ${Math.round(step)}` : "";
}

function about() {
  const words = shown.map(name => {
    const run = page.runs[name];
    const thinned = run.grouped ? ` Drawn by the smallest and the largest of every ${run.grouped} steps.` : "";
    const made = element("p", null);
    const reason = name in page.unscored ? ` Not scored: ${page.unscored[name]}.` : "";
    made.append(element("b", name), ` ${run.optimizer}; ${run.problem}; ${run.settings}.${thinned}${reason}`);
    return made;
  });
  document.getElementById("words").replaceChildren(...words);
  const claims = Object.keys(page.claims).filter(claim => shown.some(name => page.card[name][claim]));
  const head = element("tr");
  head.append(element("th", "claim"), ...shown.map(name => element("th", name)));
  const rows = claims.map(claim => {
    const row = element("tr"), said = element("td");
    said.append(element("b", claim), `: ${page.claims[claim]}`);
    row.append(said, ...shown.map(name => {
      const [verdict, value, limit] = page.card[name][claim] ?? ["", "", ""];
      const cell = element("td", value ? `${verdict}, ${value} ` : verdict, verdict ? {class: verdict.split(" ")[0]} : {});
      cell.append(element("span", limit, {class: "soft"}));
      return cell;
    }));
    return row;
  });
  document.getElementById("card").replaceChildren(...(rows.length ? [head, ...rows] : []));
}

function marked() {
  for (const box of document.querySelectorAll("#runs input[type=checkbox]")) {
    box.checked = shown.includes(box.value);
    box.closest("li").classList.toggle("shown", box.checked);
  }
}

// The part of the address after # names the runs: #run=one or #run=one,other.
function chosen() {
  const named = new URLSearchParams(location.hash.slice(1)).get("run") ?? "";
  const known = named.split(",").filter(name => name in page.runs);
  return known.length ? [...new Set(known)] : [Object.keys(page.runs)[0]];
}

async function show() {
  const names = chosen();
  const curves = (await Promise.all(names.map(curvesOf))).flat();
  if (String(names) !== String(chosen())) return;  // another choice was made meanwhile
  shown = names;
  drawn = curves;
  redraw();
  legends();
  about();
  marked();
  document.body.dataset.shown = shown.join(",");
}

function search(word) {
  for (const item of document.querySelectorAll("#runs li")) {
    item.hidden = !item.textContent.toLowerCase().includes(word.toLowerCase());
  }
  for (const group of document.querySelectorAll("#runs section")) {
    group.hidden = !group.querySelector("li:not([hidden])");
  }
}

// On a touch screen a finger that moves over a panel scrolls the page, until the reader chooses to enlarge.
function freeTouch() {
  if (!matchMedia("(pointer: coarse)").matches) return;
  for (const name of panels) {
    for (const tool of Bokeh.documents[0].get_model_by_name(name).toolbar.tools) {
      if (tool.type === "BoxZoomTool") tool.active = false;
    }
  }
}

window.explorer = {readout};
document.getElementById("search").addEventListener("input", event => search(event.target.value));
for (const box of document.querySelectorAll("#runs input[type=checkbox]")) {
  box.addEventListener("change", () => {
    const names = box.checked ? [...shown, box.value] : shown.filter(name => name !== box.value);
    location.hash = `run=${names.join(",")}`;
  });
}
window.addEventListener("hashchange", show);
const targets = Object.fromEntries(Object.entries(page.bokeh.roots).map(([name, id]) => [id, `panel-${name}`]));
Bokeh.embed.embed_items(
  {explorer: page.bokeh.document},
  [{docid: "explorer", roots: targets, root_ids: Object.keys(targets)}],
).then(() => {
  freeTouch();
  return show();
});
