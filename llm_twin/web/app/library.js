// The documents: all of them, the passages that a search finds, and one whole document.

import * as api from "./api.js";
import { $, made, trouble } from "./dom.js";
import { documentText, toMark } from "./sources.js";

const PAGE = 50;
let listed = 0;
let asked = 0; // how many times the list was asked for anew: a late answer to an older call is dropped

/** What the words in the search box find; without words, all documents, PAGE at a time. */
export async function documents() {
  asked += 1;
  const query = $("words").value.trim();
  if (query) return search(query);
  listed = 0;
  $("results").replaceChildren();
  await more();
}

async function more() {
  const mine = asked;
  try {
    const found = await api.documents(PAGE, listed);
    if (mine !== asked) return;
    listed += found.documents.length;
    $("results").append(...found.documents.map((each) => row(each, each.id)));
    $("more").hidden = listed >= found.total;
    $("found").textContent = `${listed} of ${found.total} documents`;
    trouble();
  } catch (error) {
    if (mine === asked) trouble(error.message);
  }
}

async function search(query) {
  const mine = asked;
  try {
    const { hits } = await api.search(query);
    if (mine !== asked) return;
    $("results").replaceChildren(...hits.map((hit) => row(hit, hit.document_id, hit)));
    $("more").hidden = true;
    $("found").textContent = hits.length ? `${hits.length} passages, the nearest first` : "Nothing was found.";
    trouble();
  } catch (error) {
    if (mine === asked) trouble(error.message);
  }
}

function row(each, id, hit) {
  const span = hit ? `?start=${hit.start}&end=${hit.end}` : "";
  const link = made("a", { href: `#/document/${encodeURIComponent(id)}${span}`, dir: "auto" }, each.title || id);
  const about = hit ? hit.text.slice(0, 240) : [each.kind, each.published].filter(Boolean).join(" · ");
  return made("li", { class: "card" }, link, made("p", { class: "soft", dir: "auto" }, about));
}

/** One document on a page of its own, with a passage marked. */
export async function document_(id, start, end) {
  const place = $("document");
  place.replaceChildren(made("p", { class: "soft" }, "Opening…"));
  try {
    const found = await api.document_(id);
    const title = made("h1", { dir: "auto", tabindex: "-1" }, found.title);
    const back = made("a", { href: "#/documents" }, "Back to the documents");
    place.replaceChildren(made("p", {}, back), title, documentText(found, start, end));
    title.focus({ preventScroll: true });
    toMark(place);
    trouble();
  } catch (error) {
    place.replaceChildren();
    trouble(error.message);
  }
}

export function start() {
  $("search").addEventListener("submit", (event) => {
    event.preventDefault();
    documents();
  });
  $("words").addEventListener("input", () => $("words").value || documents());
  $("more").addEventListener("click", more);
}
