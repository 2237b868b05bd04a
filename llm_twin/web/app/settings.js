// The settings: kept in this browser; the key only until the tab closes.

import * as api from "./api.js";
import { $, made, trouble } from "./dom.js";

const PLACE = "twin.settings";
const PLAIN = ":plain";
let known = [];
let chosen = { model: "", other: "", temperature: 0.7, retrieval: true };

export const twinName = () => known[0] || "Twin";
export const temperature = () => chosen.temperature;

/** The models to ask: one, or two side by side. */
export function asked() {
  const first = known.includes(chosen.model) ? chosen.model : known[0];
  const both = [first, known.includes(chosen.other) ? chosen.other : ""];
  return [...new Set(both.filter(Boolean).map(withRetrieval))];
}

/** A model's id with retrieval as it is set; one chosen without it stays without. */
function withRetrieval(model) {
  const plain = model + PLAIN;
  return !chosen.retrieval && known.includes(plain) ? plain : model;
}

let loading = null;

/** Load the settings and the models; whoever asks early waits for the same load. */
export function ready() {
  return (loading ||= load());
}

async function load() {
  try {
    chosen = { ...chosen, ...JSON.parse(localStorage.getItem(PLACE) || "{}") };
  } catch {
    // what cannot be read is as if it were not set
  }
  try {
    known = (await api.models()).data.map((model) => model.id);
    trouble();
  } catch (error) {
    trouble(error.message);
  }
  fill();
}

function fill() {
  const options = (first) => [...first, ...known.map((id) => made("option", { value: id }, id))];
  $("model").replaceChildren(...options([]));
  $("other").replaceChildren(...options([made("option", { value: "" }, "Nothing")]));
  $("model").value = known.includes(chosen.model) ? chosen.model : known[0] || "";
  $("other").value = known.includes(chosen.other) ? chosen.other : "";
  $("temperature").value = chosen.temperature;
  $("temperature-shown").value = $("temperature").value;
  $("retrieval").checked = chosen.retrieval;
  $("theme").value = document.documentElement.dataset.theme || "";
  $("key").value = api.key();
  call(twinName());
}

/** What the twin is called on the page. */
export function call(name) {
  $("brand").textContent = name;
  document.title = name;
}

function take() {
  chosen = {
    model: $("model").value,
    other: $("other").value,
    temperature: Number($("temperature").value),
    retrieval: $("retrieval").checked,
  };
  $("temperature-shown").value = $("temperature").value;
  document.documentElement.dataset.theme = $("theme").value;
  try {
    localStorage.setItem(PLACE, JSON.stringify(chosen));
    localStorage.setItem("twin.theme", $("theme").value);
  } catch {
    // they hold for this visit
  }
}

/** Let the dialog work; `changed` is called when a new key opens the server. */
export function start(changed) {
  $("settings-open").addEventListener("click", async () => {
    await ready(); // what is loaded late must not replace what is being typed
    $("settings").showModal();
  });
  $("settings-form").addEventListener("input", take);
  const keep = async () => {
    if ($("key").value.trim() === api.key()) return;
    api.setKey($("key").value.trim());
    loading = load();
    await loading;
    changed();
  };
  // The submit comes before the dialog closes, its close event some time after: a question asked between the two
  // must have the key already. Escape closes without a submit.
  $("settings-form").addEventListener("submit", keep);
  $("settings").addEventListener("close", keep);
}
