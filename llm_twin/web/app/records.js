// What a twin was made of and how it does: the dataset, training runs, evaluations, traces of answers.
// Each page fills a place of its own; a place that has left the page is no longer filled.

import * as api from "./api.js";
import { button, made, tried } from "./dom.js";
import { bars, colour, curve } from "./drawing.js";
import { placeAddress } from "./sources.js";

const PAGE = 20;
const EVERY_MS = 2000;
const WIDEST = 720; // pixels of a curve

const words = (value) => (typeof value === "object" ? JSON.stringify(value) : String(value));
const soft = (text) => made("p", { class: "soft" }, text);
const when = (time) => (time ? new Date(time).toLocaleString() : "");

function table(heads, rows, says) {
  const head = made("tr", {}, ...heads.map((text) => made("th", { scope: "col" }, text)));
  const body = rows.map((row) => made("tr", {}, ...row.map((cell) => made("td", { dir: "auto" }, cell))));
  const whole = made("table", {}, made("caption", { class: "unseen" }, says), made("thead", {}, head), made("tbody", {}, ...body));
  return made("div", { class: "wide", tabindex: "0", role: "region", "aria-label": says }, whole);
}

const pairs = (values, says) =>
  table(["What", "Value"], Object.entries(values).map(([name, value]) => [name, words(value)]), says);

/** Numbers with their names, as tiles. */
function figures(values, says) {
  const tile = ([name, value]) => made("div", {}, made("dt", {}, name), made("dd", {}, words(value)));
  return made("dl", { class: "figures", "aria-label": says }, ...Object.entries(values).map(tile));
}

/** That there is nothing yet, and the command that makes some. */
const nothing = (text, command) => made("p", { class: "soft" }, `${text} This makes one: `, made("code", {}, command));

/** A list that grows by a button: `ask(limit, offset)` gives {total, rows}. Rejects when the first rows cannot be had. */
async function growing(place, ask, row) {
  const list = made("ol", { class: "plain-list" });
  const told = made("p", { class: "soft", role: "status" });
  const wrong = made("div");
  let shown = 0;
  const more = button("Show more", async () => {
    more.disabled = true;
    await tried(wrong, next);
    more.disabled = false;
  });
  async function next() {
    const { total, rows } = await ask(PAGE, shown);
    shown += rows.length;
    list.append(...rows.map(row));
    told.textContent = total ? `${shown} of ${total}` : "There is nothing here yet.";
    more.hidden = shown >= total;
  }
  await next();
  place.append(told, list, wrong, more);
}

// --- dataset ---------------------------------------------------------------------------------------------------------

export async function dataset(place) {
  let found;
  try {
    found = await api.dataset();
  } catch (error) {
    if (error.status !== 404) throw error;
    place.append(nothing("There is no dataset yet.", "twin dataset"));
    return;
  }
  const dropped = found.dropped.map(({ what, why }) => [what, why]);
  const sides = made("select", { "aria-label": "Which side" }, ...[["", "All samples"], ["train", "Trained on"], ["test", "Held out"]]
    .map(([value, text]) => made("option", { value }, text)));
  const list = made("div");
  const fill = () => {
    const mine = made("div");
    const ask = async (limit, offset) => {
      const page = await api.samples(sides.value, limit, offset);
      return { total: page.total, rows: page.samples };
    };
    list.replaceChildren(mine);
    return tried(mine, () => growing(mine, ask, sample));
  };
  sides.addEventListener("change", fill);
  place.append(figures(found.counts, `The dataset of ${found.author} in numbers`));
  if (dropped.length) {
    place.append(made("details", {}, made("summary", {}, `${dropped.length} left out, and why`), table(["What", "Why"], dropped, "What was left out")));
  }
  place.append(sides, list);
  await fill();
}

function sample({ instruction, response, split, written_by: writer, document_id: id, start, end }) {
  const link = made("a", { href: placeAddress({ document_id: id, passage: [start, end] }) }, "in its document");
  const about = made("p", { class: "soft" }, `${split === "train" ? "trained on" : "held out"} · request by ${writer} · `, link);
  const said = made("p", { class: "words plain", dir: "auto" }, response);
  return made("li", { class: "card" }, made("h2", { dir: "auto" }, instruction), said, about);
}

// --- training --------------------------------------------------------------------------------------------------------

export async function runs(place) {
  const found = (await api.runs()).runs;
  if (!found.length) place.append(nothing("There is no training run yet.", "twin train sft"));
  await Promise.all(found.map((run) => follow(place.appendChild(made("article", { class: "card" })), run)));
}

/** A run and its curve, which grows while the run does. */
async function follow(place, run) {
  const state = soft("Loading…");
  const picture = made("div");
  const wrong = made("div");
  const points = [];
  place.append(made("h2", {}, run.id), state, picture, wrong, made("details", {}, made("summary", {}, "Settings"), pairs(run.recipe, `Settings of ${run.id}`)));
  let finished = false;
  const next = async () => {
    const more = await api.curve(run.id, points.at(-1)?.[0] || 0);
    points.push(...more.points);
    finished = more.finished;
    state.textContent = progress(points, finished);
    if (more.points.length || !picture.firstChild) picture.replaceChildren(curve(points, "loss", Math.min(WIDEST, picture.clientWidth || WIDEST)));
  };
  for (;;) {
    const told = await tried(wrong, next);
    if (finished) return;
    await new Promise((resolve) => setTimeout(resolve, told ? EVERY_MS : 5 * EVERY_MS));
    if (!place.isConnected) return;
  }
}

function progress(points, finished) {
  if (!points.length) return "not begun";
  const [step, loss, , rate] = points.at(-1);
  return `${finished ? "finished" : "not finished"} · step ${step} · loss ${loss.toFixed(3)} · ${rate.toFixed(0)} tokens/s`;
}

// --- evaluations -----------------------------------------------------------------------------------------------------

export async function reports(place) {
  const found = (await api.reports()).reports;
  if (!found.length) place.append(nothing("There is no evaluation yet.", "twin evaluate"));
  const readable = found.filter(({ reason }) => !reason);
  if (readable.length > 1) place.append(against(readable));
  place.append(made("ol", { class: "plain-list" }, ...found.map(evaluation)));
}

function evaluation(row) {
  const title = made("h2", {}, row.twin || row.id);
  if (row.reason) return made("li", { class: "card" }, title, soft(`cannot be read: ${row.reason}`));
  const about = soft(`beside ${row.base} · ${when(row.created)} · ${row.id}`);
  const wrong = made("div");
  const open = button("Open the report", () => tried(wrong, () => api.openReport(row.id)));
  return made("li", { class: "card" }, title, about, pairs(row.figures, `Figures of ${row.id}`), open, wrong);
}

/** Two evaluations to hold against each other. */
function against(rows) {
  const option = ({ id, twin, created }, selected) => made("option", { value: id, selected }, [twin, when(created), id].filter(Boolean).join(" · "));
  const choice = (label, chosen) => {
    const select = made("select", {}, ...rows.map((row, i) => option(row, i === chosen)));
    return [select, made("label", {}, label, select)];
  };
  const [[before, beforeField], [after, afterField]] = [choice("Before", 1), choice("After", 0)];
  const [result, wrong] = [made("div", { role: "status" }), made("div")];
  const show = async () => {
    const found = await api.compare(before.value, after.value);
    const changes = found.rows.map(({ figure: name, a, b, change }) => [name, figure(a), figure(b), figure(change)]);
    const made_of = found.differences.map(({ name, a, b }) => [name, a, b]);
    result.replaceChildren(table(["Figure", "Before", "After", "Change"], changes, "What changed"));
    if (made_of.length) result.append(table(["Made from", "Before", "After"], made_of, "What they were made from"));
  };
  const row = made("div", { class: "pair-of-fields" }, beforeField, afterField);
  return made("div", { class: "card" }, made("h2", {}, "Compare two"), row, button("Compare", () => tried(wrong, show)), wrong, result);
}

function figure(value) {
  if (value === null) return "";
  if (typeof value === "number") return Number.isInteger(value) ? String(value) : value.toFixed(3);
  return `${value.value.toFixed(3)} [${value.low.toFixed(3)}, ${value.high.toFixed(3)}]`;
}

// --- traces ----------------------------------------------------------------------------------------------------------

export async function traces(place) {
  const ask = async (limit, offset) => {
    const page = await api.traces(limit, offset);
    return { total: page.total, rows: page.traces };
  };
  place.append(soft("How your last answers came about, step by step."));
  await growing(place, ask, trace);
}

function trace({ question, time, model, mode, steps, first_token_ms: first, total_ms: total }) {
  const told = [when(time), mode, model, first === null ? "no word came" : `first word after ${first.toFixed(0)} ms`, `${total.toFixed(0)} ms in all`];
  const rows = steps.map(({ name, milliseconds, said }, i) => [named(name, colour(steps, i)), milliseconds.toFixed(1), said]);
  const more = made("details", {}, made("summary", {}, `${steps.length} steps`), table(["Step", "ms", "What came of it"], rows, `Steps of ${question}`));
  return made("li", { class: "card" }, made("h2", { dir: "auto" }, question), soft(told.filter(Boolean).join(" · ")), bars(steps, total), more);
}

/** A step's name behind the colour of its bar. */
const named = (name, shade) => made("span", { class: "named" }, made("span", { class: `swatch ${shade}`, "aria-hidden": "true" }), name);
