// The passages behind an answer: listed beside it, and each opened in its document with its words marked.

import * as api from "./api.js";
import { $, button, made, trouble, webAddress } from "./dom.js";

/** A list of what the answer cites, else of what was found; null when there is nothing. */
export function sources(twin) {
  const cited = (twin?.citations || []).map((citation) => ({ ...hitOf(twin, citation), ...citation }));
  const listed = cited.length ? cited : twin?.hits || [];
  if (!listed.length) return null;
  const title = made("h3", {}, cited.length ? "Sources" : "Found, not cited");
  const list = made("ol", { class: "plain-list" }, ...listed.map((passage) => made("li", {}, card(passage))));
  return made("aside", { class: "sources", "aria-label": "Sources" }, title, list);
}

const hitOf = (twin, citation) => (twin.hits || []).find((hit) => hit.chunk === citation.chunk_id);

function card(passage) {
  const number = passage.number ? made("span", { class: "number" }, `[${passage.number}] `) : "";
  const heading = passage.heading?.length ? made("span", { class: "soft" }, passage.heading.join(" › ")) : "";
  const words = made("span", { class: "snippet" }, (passage.text || "").replace(/^#+ +/gm, "").slice(0, 180));
  const name = made("span", { class: "title", dir: "auto" }, number, passage.title);
  return made("button", { type: "button", class: "source", onclick: () => open(passage) }, name, heading, words);
}

/** Turn each [n] of a rendered answer into a button; code stays as it is. */
export function linkNumbers(place, twin) {
  const cited = new Map((twin?.citations || []).map((citation) => [String(citation.number), citation]));
  const walker = document.createTreeWalker(place, NodeFilter.SHOW_TEXT);
  const texts = [];
  while (walker.nextNode()) if (!walker.currentNode.parentElement.closest("pre, code, a")) texts.push(walker.currentNode);
  for (const text of texts) text.replaceWith(...text.data.split(/(\[\d+\])/).map((piece) => numbered(piece, cited)));
}

function numbered(piece, cited) {
  const citation = cited.get(/^\[(\d+)\]$/.exec(piece)?.[1]);
  if (!citation) return piece;
  const label = `Source ${citation.number}: ${citation.title}`;
  return button(piece, () => open(citation), { class: "cite", "aria-label": label, title: citation.title });
}

/** Open a passage over the page. */
export async function open({ document_id, start, end, title }) {
  $("passage-title").textContent = title;
  $("passage-text").replaceChildren(made("p", {}, "Opening…"));
  if (!$("passage").open) $("passage").showModal();
  try {
    const page = `#/document/${encodeURIComponent(document_id)}?start=${start}&end=${end}`;
    const whole = made("a", { href: page, onclick: () => $("passage").close() }, "On a page of its own");
    $("passage-text").replaceChildren(made("p", {}, whole), documentText(await api.document_(document_id), start, end));
    toMark($("passage-text"));
  } catch (error) {
    $("passage").close();
    trouble(error.message);
  }
}

/** A document's text with the characters from `start` to `end` marked. The server counts code points. */
export function documentText(found, start, end) {
  const points = Array.from(found.text);
  const cut = (from, to) => points.slice(from, to).join("");
  const marked = end > start ? [cut(0, start), made("mark", { tabindex: "-1" }, cut(start, end)), cut(end)] : [found.text];
  const url = webAddress(found.url);
  const link = url && made("a", { href: url, rel: "noopener noreferrer", target: "_blank" }, url);
  const about = made("p", { class: "soft" }, [found.kind, found.published].filter(Boolean).join(" · "), link ? " · " : "", link);
  return made("div", {}, about, made("div", { class: "words", dir: "auto" }, ...marked));
}

export function toMark(place) {
  place.querySelector("mark")?.scrollIntoView({ block: "center" });
}

$("passage-close").addEventListener("click", () => $("passage").close());
