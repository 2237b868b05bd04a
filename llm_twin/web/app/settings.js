// The settings: kept in this browser; the key only until the tab closes. What is not set is left to the server.

import * as api from "./api.js";
import { $, made, tried, trouble } from "./dom.js";
import * as shelf from "./shelf.js";

const PLACE = "twin.chosen";
const PLAIN = ":plain";
const UNSET = { model: "", other: "", temperature: null, longest: null, retrieval: true, author: "" };
let models = [];
let chosen = { ...UNSET };

const ids = () => models.map(({ id }) => id);
const known = (id) => (ids().includes(id) ? id : "");

export const twinName = () => models[0]?.id || "Twin";

/** What a request says of how to answer: only what a person has set. */
export function sampling() {
  const set = { temperature: chosen.temperature, max_tokens: chosen.longest };
  return Object.fromEntries(Object.entries(set).filter(([, value]) => value !== null));
}

/** Whether the twin is this author's: its name is the author's as the server makes a file name of it. */
export function isTwins(author) {
  const plain = author.normalize("NFKD").replace(/[\p{M}'’]/gu, "").toLowerCase();
  return (plain.match(/[\p{L}\p{N}]+/gu) || []).join("-") === twinName();
}

/** Whose documents are listed and searched: the author chosen, else the twin's, else the first. */
export function author() {
  const authors = shelf.authors();
  if (!authors.length || authors.includes(chosen.author)) return chosen.author || undefined;
  return authors.find(isTwins) || authors[0];
}

export function chooseAuthor(name) {
  keep({ ...chosen, author: name });
}

/** Put the known authors into a place to choose from; whether there is a choice. */
export function offerAuthors(place) {
  const authors = shelf.authors();
  place.replaceChildren(...authors.map((name) => made("option", { value: name }, name)));
  place.value = author() || "";
  place.disabled = authors.length < 2;
  return authors.length > 1;
}

/** The models to ask: one, or two side by side. */
export function asked() {
  const both = [known(chosen.model) || ids()[0], known(chosen.other)];
  return [...new Set(both.filter(Boolean).map(withRetrieval))];
}

/** A model's id with retrieval as it is set; one chosen without it stays without. */
function withRetrieval(model) {
  return (!chosen.retrieval && known(model + PLAIN)) || model;
}

let loading = null;

/** Load the settings and the models; whoever asks early waits for the same load. */
export function ready() {
  return (loading ||= load());
}

async function load() {
  try {
    chosen = { ...UNSET, ...JSON.parse(localStorage.getItem(PLACE) || "{}") };
  } catch {
    // what cannot be read is as if it were not set
  }
  try {
    models = (await api.models()).data;
    trouble();
  } catch (error) {
    trouble(error.message);
  }
  fill();
  call(twinName());
}

function fill() {
  const options = (first) => [...first, ...ids().map((id) => made("option", { value: id }, id))];
  $("model").replaceChildren(...options([]));
  $("other").replaceChildren(...options([made("option", { value: "" }, "Nothing")]));
  $("model").value = known(chosen.model) || ids()[0] || "";
  $("other").value = known(chosen.other);
  $("temperature").value = chosen.temperature ?? "";
  $("longest").value = chosen.longest ?? "";
  $("retrieval").checked = chosen.retrieval;
  $("theme").value = document.documentElement.dataset.theme || "";
  $("key").value = api.key();
  explain();
}

/** What the chosen models are, in the server's words. */
function explain() {
  const about = (id) => models.find((model) => model.id === id)?.about || "";
  for (const name of ["model", "other"]) $(`${name}-is`).textContent = about($(name).value);
}

/** What the twin is called on the page. */
export function call(name) {
  $("brand").textContent = name;
  document.title = name;
}

/** A number as it stands in its field: null where nothing does, the old one where what does is out of range. */
function number(place, old) {
  if (!place.validity.valid) return old;
  return place.value === "" ? null : place.valueAsNumber;
}

function take() {
  document.documentElement.dataset.theme = $("theme").value;
  explain();
  keep({
    model: $("model").value,
    other: $("other").value,
    temperature: number($("temperature"), chosen.temperature),
    longest: number($("longest"), chosen.longest),
    retrieval: $("retrieval").checked,
    author: $("author").value || chosen.author,
  });
}

function keep(settings) {
  chosen = settings;
  try {
    localStorage.setItem(PLACE, JSON.stringify(chosen));
    localStorage.setItem("twin.theme", $("theme").value);
  } catch {
    // they hold for this visit
  }
}

async function open() {
  await ready(); // what is loaded late must not replace what is being typed
  fill();
  offerAuthors($("author"));
  $("settings").showModal();
  tried($("author-trouble"), async () => {
    await shelf.all();
    offerAuthors($("author"));
  });
}

/** Let the dialog work. `opened` is called when a new key opens the server, `closed` whenever the dialog closes. */
export function start(opened, closed) {
  $("settings-open").addEventListener("click", open);
  $("settings-form").addEventListener("input", take);
  const keepKey = async () => {
    if ($("key").value.trim() === api.key()) return;
    api.setKey($("key").value.trim());
    shelf.anew();
    loading = load();
    await loading;
    opened();
  };
  // The submit comes before the dialog closes, its close event some time after: a question asked between the two
  // must have the key already. Escape closes without a submit.
  $("settings-form").addEventListener("submit", keepKey);
  $("settings").addEventListener("close", keepKey);
  $("settings").addEventListener("close", closed);
}
