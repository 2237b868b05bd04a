// Labelling: one answer in one dimension at a time, judged good or bad, or skipped.

import { $, ask, keys, made, once, progress, put, show } from "./page.js";

let state;

function next() {
  progress(state.done, state.total);
  if (state.item) showItem(state.item);
  else showEnd(state.end);
}

function showItem(item) {
  $("dimension").textContent = item.dimension;
  $("asked").textContent = item.asked;
  $("how").textContent = item.how;
  put($("question"), item.question);
  put($("answer"), item.answer);
  $("passages").replaceChildren(
    ...item.passages.map((text) => {
      const passage = made("blockquote");
      passage.className = "words";
      put(passage, text);
      return passage;
    }),
  );
  for (const part of ["passages", "answer"]) $(`${part}-part`).open = item.needed.includes(part);
  show("round");
}

function showEnd(end) {
  $("result").textContent = end.skipped ? "That was the last one" : "All labelled";
  const skipped = end.skipped ? ` ${end.skipped} skipped: they come again when you start anew.` : "";
  $("verdict").textContent = `${end.given} of ${state.total} have a label.${skipped}`;
  show("end");
}

function say(said) {
  return once(async () => {
    const after = await ask("answer", { id: state.item.id, said });
    if (!after) return;
    state = after;
    next();
  });
}

for (const said of ["good", "bad", "skip"]) $(said).addEventListener("click", () => say(said));
keys({ 1: "good", g: "good", 2: "bad", b: "bad", s: "skip" });

state = await ask("state");
if (state) next();
