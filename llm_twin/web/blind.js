// The blind test: an explanation, one pair of passages after another, and the end with everything told.

import { $, ask, keys, made, once, progress, put, show } from "./page.js";

const PRACTICE = {
  instruction: "Why do you bake your own bread?",
  passages: [
    "Baking bread at home offers numerous benefits. It allows for full control over the ingredients, " +
      "it can be more economical in the long run, and it is a rewarding activity for people of all ages.",
    "Because of the smell at six in the morning, mostly. I got it wrong for a whole winter: bricks, every " +
      "one of them. The birds would not touch them either. Then one day it rose, and that was that.",
  ],
};
const SVG = "http://www.w3.org/2000/svg";
const percent = (share) => `${Math.round(100 * share)}%`;

let state;
let practising = false;

function showItem(item) {
  $("practice").hidden = !practising;
  $("instruction").textContent = item.instruction;
  item.passages.forEach((text, i) => put($(`text${i + 1}`), text));
  for (const i of [1, 2]) $(`card${i}`).classList.remove("picked");
  show("round");
}

function next() {
  practising = false;
  progress(state.done, state.total);
  if (state.item) showItem(state.item);
  else showEnd(state.end);
}

function pick(number) {
  return once(async () => {
    $(`card${number}`).classList.add("picked");
    if (practising) {
      practising = false;
      return show("ready");
    }
    const after = await ask("answer", { id: state.item.id, picked: number });
    if (!after) return $(`card${number}`).classList.remove("picked");
    state = after;
    next();
  });
}

function showEnd(end) {
  const total = end.blind.total;
  $("result").textContent = `${total.correct} of ${total.guesses} recognised`;
  $("verdict").textContent = end.words;
  draw(total.share, end.words);
  $("kinds").hidden = end.blind.kinds.length < 2;
  $("rows").replaceChildren(...end.blind.kinds.map(row));
  $("review").replaceChildren(...end.review.map(solved));
  show("end");
}

function row(kind) {
  const name = made("th", kind.kind);
  name.scope = "row";
  const reach = `${percent(kind.share.low)} to ${percent(kind.share.high)}`;
  return made("tr", name, made("td", `${kind.correct} of ${kind.guesses}`), made("td", reach));
}

function solved(item) {
  const heading = made("h3", item.instruction);
  const parts = [
    ["real", `${state.author} wrote`, item.real],
    ["other", "The twin wrote", item.other],
  ].map(([kind, who, text]) => {
    const words = made("div");
    words.className = "words";
    put(words, text);
    const part = made("div", made("h4", who), words);
    part.className = `told ${kind}`;
    return part;
  });
  const mark = made("p", item.right ? "✓ You recognised it." : "✗ You took the twin’s for it.");
  mark.className = "soft";
  const pair = made("div", ...parts);
  pair.className = "pair";
  return made("article", heading, mark, pair);
}

/** The share and its interval between never and always, with chance in the middle. */
function draw(share, words) {
  const add = (name, attributes, text = "") => {
    const part = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) part.setAttribute(key, value);
    part.textContent = text;
    return part;
  };
  // Drawn on the middle 88% of the width, so that labels at either end stay inside.
  const at = (value) => `${6 + 88 * value}%`;
  const picture = $("picture");
  picture.setAttribute("aria-label", words);
  picture.replaceChildren(
    add("line", { class: "rail", x1: at(0), x2: at(1), y1: 44, y2: 44 }),
    add("line", { class: "chance", x1: at(0.5), x2: at(0.5), y1: 22, y2: 66 }),
    add("line", { class: "interval", x1: at(share.low), x2: at(share.high), y1: 44, y2: 44 }),
    add("circle", { class: "mark", cx: at(share.value), cy: 44, r: 9 }),
    add("text", { class: "value", x: at(share.value), y: 16, "text-anchor": "middle" }, percent(share.value)),
    ...[[0, "never"], [0.5, "chance"], [1, "always"]].map(([value, name]) =>
      add("text", { x: at(value), y: 88, "text-anchor": "middle" }, name),
    ),
  );
}

$("practise").addEventListener("click", () => {
  practising = true;
  showItem(PRACTICE);
});
for (const id of ["begin", "start"]) $(id).addEventListener("click", next);
for (const number of [1, 2]) $(`pick${number}`).addEventListener("click", () => pick(number));
keys({ 1: "pick1", 2: "pick2" });

state = await ask("state");
if (state) {
  document.title = `Blind test: ${state.author} or the twin?`;
  for (const place of document.querySelectorAll(".author")) place.textContent = state.author;
  progress(state.done, state.total);
  if (state.done) next();
  else show("intro");
}
