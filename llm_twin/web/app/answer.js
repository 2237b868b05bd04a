// One answer: plain text while it comes, rendered when it is whole, with its sources and what can be said about it.

import * as api from "./api.js";
import { made, say } from "./dom.js";
import { opinion } from "./opinion.js";
import { linkNumbers, sources } from "./sources.js";

/** The element of an answer, and how it grows. `changed` is called when there is something to keep. */
export function answerView(question, answer, changed) {
  const body = made("div", { class: "words plain", dir: "auto", "aria-live": "polite", "aria-busy": "true" });
  const note = made("p", { class: "soft" });
  const card = made("div", { class: "card" }, made("h3", {}, answer.model), body, note);
  const element = made("article", { class: "answer", "aria-label": `Answer of ${answer.model}` }, card);
  return {
    element,
    grow(piece) {
      answer.text += piece;
      body.append(piece);
    },
    async finish() {
      body.setAttribute("aria-busy", "false");
      note.textContent = state(answer);
      note.className = answer.error ? "trouble" : "soft";
      if (!answer.text) return;
      await rendered(body, answer);
      card.append(opinion(question, answer, changed));
      const beside = sources(answer.twin);
      if (beside) element.append(beside);
      element.classList.toggle("sourced", Boolean(beside));
      say("The answer is complete");
    },
  };
}

function state(answer) {
  if (answer.error) return answer.error;
  if (answer.stopped) return "Stopped.";
  if (answer.twin?.found === false && answer.twin.mode !== "plain") return "Nothing was found in the documents.";
  return "";
}

/** Swap the plain text for what the server made of its Markdown; where it cannot, the text stays. */
async function rendered(body, answer) {
  body.textContent = answer.text;
  try {
    const page = new DOMParser().parseFromString(await api.render(answer.text), "text/html");
    body.classList.remove("plain");
    body.replaceChildren(...page.body.childNodes);
  } catch {
    body.classList.add("plain");
  }
  linkNumbers(body, answer.twin);
}
