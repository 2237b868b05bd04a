// The documents: all of them, the passages that a search finds, and one whole document.

import * as api from "./api.js";
import { $, made, trouble } from "./dom.js";
import { documentText, toMark } from "./sources.js";

const PAGE = 50;
let listed = 0;

/** All documents, PAGE at a time. */
export async function documents() {
  listed = 0;
  $("results").replaceChildren();
  $("words").value = "";
  await more();
}

async function more() {
  try {
    const found = await api.documents(PAGE, listed);
    listed += found.documents.length;
    $("results").append(...found.documents.map((each) => row(each, each.id)));
    $("more").hidden = listed >= found.total;
    $("found").textContent = `${listed} of ${found.total} documents`;
    trouble();
  } catch (error) {
    trouble(error.message);
  }
}

async function search(event) {
  event.preventDefault();
  const query = $("words").value.trim();
  if (!query) return documents();
  try {
    const { hits } = await api.search(query);
    $("results").replaceChildren(...hits.map((hit) => row(hit, hit.document_id, hit)));
    $("more").hidden = true;
    $("found").textContent = hits.length ? `${hits.length} passages, the nearest first` : "Nothing was found.";
    trouble();
  } catch (error) {
    trouble(error.message);
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
    const back = made("a", { href: "#/documents" }, "All documents");
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
  $("search").addEventListener("submit", search);
  $("more").addEventListener("click", more);
}
