// The passages behind an answer: listed beside it, and each opened in its document: the passage lightly marked, the
// words that are cited strongly. A place in a document is {document_id, title, passage, cited}: the offsets [start, end]
// of a passage, and those of the sentences in it. The server counts code points.

import * as api from "./api.js";
import { $, button, made, trouble, webAddress } from "./dom.js";

/** A list of what the answer cites, else of what was found; null when there is nothing. */
export function sources(twin) {
  const cited = places(twin);
  const listed = cited.length ? cited : (twin?.hits || []).map((hit) => ({ ...hit, passage: [hit.start, hit.end], cited: [] }));
  if (!listed.length) return null;
  const title = made("h3", {}, cited.length ? "Sources" : "Found, not cited");
  const list = made("ol", { class: "plain-list" }, ...listed.map((place) => made("li", {}, card(place))));
  return made("aside", { class: "sources", "aria-label": "Sources" }, title, list);
}

/** The places that an answer cites, each with its number and, where it was sent along, its passage. */
function places(twin) {
  return (twin?.citations || []).map((citation) => {
    const hit = (twin.hits || []).find(({ chunk }) => chunk === citation.chunk_id);
    const cited = citation.spans?.length ? citation.spans : [[citation.start, citation.end]];
    return { ...hit, ...citation, cited, passage: hit ? [hit.start, hit.end] : null };
  });
}

function card(place) {
  const number = place.number ? made("span", { class: "number" }, `[${place.number}] `) : "";
  const heading = place.heading?.length ? made("span", { class: "soft" }, place.heading.join(" › ")) : "";
  const words = made("span", { class: "snippet" }, snippet(place));
  const name = made("span", { class: "title", dir: "auto" }, number, place.title);
  return made("button", { type: "button", class: "source", onclick: () => open(place) }, name, heading, words);
}

/** The words that are cited; of a passage that is not, how it begins. */
function snippet({ text, passage, cited }) {
  if (!text) return "";
  const points = Array.from(text);
  const pieces = cited.map(([start, end]) => points.slice(start - passage[0], end - passage[0]).join(""));
  return (pieces.join(" … ") || text).replace(/^#+ +/gm, "").slice(0, 300);
}

/** Turn each [n] of a rendered answer into a button; code stays as it is. */
export function linkNumbers(place, twin) {
  const cited = new Map(places(twin).map((each) => [String(each.number), each]));
  const walker = document.createTreeWalker(place, NodeFilter.SHOW_TEXT);
  const texts = [];
  while (walker.nextNode()) if (!walker.currentNode.parentElement.closest("pre, code, a")) texts.push(walker.currentNode);
  for (const text of texts) text.replaceWith(...text.data.split(/(\[\d+\])/).map((piece) => numbered(piece, cited)));
}

function numbered(piece, cited) {
  const place = cited.get(/^\[(\d+)\]$/.exec(piece)?.[1]);
  if (!place) return piece;
  const label = `Source ${place.number}: ${place.title}`;
  return button(piece, () => open(place), { class: "cite", "aria-label": label, title: place.title });
}

/** The address of a place on the document's own page. */
export function placeAddress({ document_id: id, passage, cited }) {
  const given = new URLSearchParams();
  if (passage) given.set("start", passage[0]);
  if (passage) given.set("end", passage[1]);
  if (cited?.length) given.set("cited", cited.map((span) => span.join("-")).join());
  return `#/document/${encodeURIComponent(id)}${passage || cited?.length ? `?${given}` : ""}`;
}

/** The place that such an address names, from what stands behind its "?". */
export function placeIn(query) {
  const given = new URLSearchParams(query);
  const [start, end] = [Number(given.get("start")), Number(given.get("end"))];
  const cited = (given.get("cited") || "").split(",").map((span) => span.split("-").map(Number));
  return { passage: end > start ? [start, end] : null, cited: cited.filter(([from, to]) => to > from) };
}

/** Open a place over the page. */
async function open(place) {
  $("passage-title").textContent = place.title;
  $("passage-text").replaceChildren(made("p", { class: "soft" }, "Opening…"));
  if (!$("passage").open) $("passage").showModal();
  try {
    const whole = made("a", { href: placeAddress(place), onclick: () => $("passage").close() }, "On a page of its own");
    $("passage-text").replaceChildren(documentText(await api.document_(place.document_id), place, whole));
    toMark($("passage-text"));
  } catch (error) {
    $("passage").close();
    trouble(error.message);
  }
}

/** A document's text with a place marked: the passage lightly where words of it are cited, else as a whole. */
export function documentText(found, { passage, cited = [] }, link = "") {
  const url = webAddress(found.url);
  const out = url && made("a", { href: url, rel: "noopener noreferrer", target: "_blank" }, url.replace(/^https?:\/\//i, ""));
  const about = [[found.kind, found.published].filter(Boolean).join(" · "), out, link].filter(Boolean);
  const line = made("p", { class: "soft about" }, ...about.map((each) => made("span", {}, each)));
  return made("div", {}, line, made("div", { class: "words", dir: "auto" }, ...marked(found.text, passage, cited)));
}

/** The text cut at the edges of the passage and of what is cited, each piece marked as what it is, headings standing out. */
function marked(text, passage, cited) {
  const points = Array.from(text);
  const light = passage ? [passage] : [];
  const strong = cited.length ? cited : light;
  const titles = headings(text);
  const put = (place) => {
    const words = points.slice(...place).join("");
    return within(titles, place) ? made("span", { class: "heading" }, words) : words;
  };
  return cuts(0, points.length, [...light, ...strong]).map(([from, to]) => {
    const words = cuts(from, to, titles).map(put);
    if (within(strong, [from, to])) return made("mark", { tabindex: "-1", class: strong === light && "whole" }, ...words);
    return made("span", { class: within(light, [from, to]) && "passage" }, ...words);
  });
}

/** [from, to] cut wherever one of `spans` begins or ends. */
function cuts(from, to, spans) {
  const edges = [from, to, ...spans.flat()].filter((at) => from <= at && at <= to);
  const sorted = [...new Set(edges)].sort((a, b) => a - b);
  return sorted.slice(1).map((end, i) => [sorted[i], end]);
}

const within = (spans, [from]) => spans.some(([start, end]) => start <= from && from < end);

/** The lines of a Markdown text that are headings, outside code between fences. */
function headings(text) {
  const found = [];
  let at = 0;
  let code = false;
  for (const line of text.split("\n")) {
    const end = at + Array.from(line).length;
    if (/^\s*(```|~~~)/.test(line)) code = !code;
    if (!code && /^#{1,6} /.test(line)) found.push([at, end]);
    at = end + 1;
  }
  return found;
}

export function toMark(place) {
  place.querySelector("mark")?.scrollIntoView({ block: "center" });
}

$("passage-close").addEventListener("click", () => $("passage").close());
