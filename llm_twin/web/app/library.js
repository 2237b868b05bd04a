// The documents of one author: all of them, the passages that a search finds, and one whole document.

import * as api from "./api.js";
import { $, made, trouble } from "./dom.js";
import * as settings from "./settings.js";
import * as shelf from "./shelf.js";
import { documentText, placeAddress, toMark } from "./sources.js";

const PAGE = 50;
let own = []; // the documents that are listed; the first `listed` of them are on the page
let listed = 0;
let shown = ""; // whose they are
let asked = 0; // how many times the list was asked for anew: a late answer to an older call is dropped

/** What the words in the search box find; without words, the author's documents, newest first. Both as the server has them now. */
export function documents() {
  shelf.anew();
  return list();
}

/** Another author may have been chosen elsewhere. */
export function authorChosen() {
  if (!$("documents").hidden && settings.author() !== shown) list();
}

async function list() {
  const mine = (asked += 1);
  const late = () => mine !== asked;
  const query = $("words").value.trim();
  if (!$("results").children.length) $("found").textContent = "Loading…";
  shelf.all().then(offer, () => {}); // what went wrong is told where the list is shown
  try {
    await (query ? search(query, late) : everything(late));
    if (!late()) trouble();
  } catch (error) {
    if (late()) return;
    $("found").textContent = "";
    trouble(error.message);
  }
}

function offer() {
  $("by-line").hidden = !settings.offerAuthors($("by"));
}

async function everything(late) {
  const lines = await shelf.all();
  if (late()) return;
  shown = settings.author();
  const newest = (a, b) => (b.published || "").localeCompare(a.published || "") || a.title.localeCompare(b.title);
  own = lines.filter(({ author }) => author === shown).sort(newest);
  listed = 0;
  $("results").replaceChildren();
  more();
}

function more() {
  $("results").append(...own.slice(listed, listed + PAGE).map((each) => row(each, each.id)));
  listed = Math.min(listed + PAGE, own.length);
  $("more").hidden = listed >= own.length;
  $("found").textContent = own.length ? `${listed} of ${own.length} documents` : "There are no documents yet.";
}

async function search(query, late) {
  const author = settings.author();
  const { hits } = await api.search(query, author);
  if (late()) return;
  shown = author;
  $("results").replaceChildren(...hits.map((hit) => row(hit, hit.document_id, hit)));
  $("more").hidden = true;
  $("found").textContent = hits.length ? `${hits.length} passages, the nearest first` : "Nothing was found.";
}

function row(each, id, hit) {
  const address = placeAddress({ document_id: id, passage: hit && [hit.start, hit.end] });
  const link = made("a", { href: address, dir: "auto" }, each.title || id);
  const about = hit ? hit.text.replace(/^#+ +/gm, "") : [each.kind, each.published].filter(Boolean).join(" · ");
  return made("li", { class: "card" }, link, made("p", { class: "soft snippet", dir: "auto" }, about));
}

/** One document on a page of its own, with what `place` names of it marked. */
export async function document_(id, place) {
  const page = $("document");
  page.replaceChildren(made("p", { class: "soft" }, "Opening…"));
  try {
    const found = await api.document_(id);
    const title = made("h1", { dir: "auto", tabindex: "-1" }, found.title);
    const back = made("a", { href: "#/documents" }, "Back to the documents");
    page.replaceChildren(made("p", {}, back), title, documentText(found, place));
    title.focus({ preventScroll: true });
    toMark(page);
    trouble();
  } catch (error) {
    page.replaceChildren();
    trouble(error.message);
  }
}

export function start() {
  $("search").addEventListener("submit", (event) => {
    event.preventDefault();
    list();
  });
  $("words").addEventListener("input", () => $("words").value || list());
  $("more").addEventListener("click", more);
  $("by").addEventListener("change", () => {
    settings.chooseAuthor($("by").value);
    list();
  });
}
