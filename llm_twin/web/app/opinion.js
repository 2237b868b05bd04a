// What a reader thinks of an answer, and what the verifier does: thumbs, a better wording, how much it sounds like the author.

import * as api from "./api.js";
import { button, made, say } from "./dom.js";

/** The row of buttons under an answer. `changed` is called when the answer's thumb did. */
export function opinion(question, answer, changed) {
  const place = made("div", { class: "more" });
  const send = (given) => sent(place, { model: answer.model, question, answer: answer.text, ...given });
  const thumbs = ["up", "down"].map((way) => thumb(way, answer, send, changed));
  const edit = button("How I'd have said it", () => editor(place, answer, send), { class: "quiet" });
  const meter = button("Whose voice?", () => voice(place, answer.text), { class: "quiet" });
  return made("div", { class: "opinion" }, made("div", { class: "row" }, ...thumbs, edit, meter), place);
}

function thumb(way, answer, send, changed) {
  const press = async () => {
    if (!(await send({ thumb: way }))) return;
    answer.thumb = way;
    changed();
    for (const each of element.parentElement.querySelectorAll("[aria-pressed]")) each.setAttribute("aria-pressed", each === element);
  };
  const pressed = String(answer.thumb === way);
  const element = button(way === "up" ? "Good" : "Bad", press, { class: "quiet", "aria-pressed": pressed });
  return element;
}

async function sent(place, given) {
  try {
    await api.feedback(given);
  } catch (error) {
    told(place, error.message, "trouble");
    return false;
  }
  told(place, "Kept. Thank you.");
  say("Your opinion was kept");
  return true;
}

function told(place, text, kind = "soft") {
  place.replaceChildren(made("p", { class: kind }, text));
}

function editor(place, answer, send) {
  const text = made("textarea", { rows: "6", "aria-label": "The answer as you would have given it" });
  text.value = answer.text.replace(/ ?\[\d+\]/g, "");
  const keep = async (event) => {
    event.preventDefault();
    if (text.value.trim()) await send({ edit: text.value.trim() });
  };
  const cancel = button("Cancel", () => place.replaceChildren(), { class: "quiet" });
  const row = made("div", { class: "row" }, made("button", { class: "main" }, "Keep"), cancel);
  place.replaceChildren(made("form", { class: "editor", onsubmit: keep }, text, row));
  text.focus();
}

async function voice(place, text) {
  told(place, "Listening…");
  try {
    place.replaceChildren(...meter(await api.voice(text)));
  } catch (error) {
    told(place, error.message);
  }
}

/** A bar from 0 to 1 with words; words alone where nothing can be told. */
function meter(said) {
  const share = said.probability ?? said.score;
  if (typeof share !== "number") return [made("p", { class: "soft" }, `Cannot tell: ${said.refused || "it is too short"}.`)];
  const words = share >= 0.7 ? "Sounds like the author" : share >= 0.4 ? "Could be the author" : "Sounds like somebody else";
  const bar = made("meter", { min: "0", max: "1", value: share, "aria-label": "How much it sounds like the author" });
  return [made("p", { class: "voice" }, bar, ` ${words} (${share.toFixed(2)} of 1)`)];
}
