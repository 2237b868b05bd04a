// The page: which of its parts the address names, and what happens first.

import * as chat from "./chat.js";
import { $, made, trouble } from "./dom.js";
import * as library from "./library.js";
import * as records from "./records.js";
import * as settings from "./settings.js";
import { placeIn } from "./sources.js";

const RECORDS = {
  dataset: ["Dataset", records.dataset],
  runs: ["Training", records.runs],
  reports: ["Reports", records.reports],
  traces: ["Traces", records.traces],
};

/** Show the part that the hash names: #/, #/documents, #/document/ID?start=N&end=N&cited=N-N,N-N, #/dataset. */
function route() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [part, id] = path.split("/");
  if (part === "main") return; // the link that skips to the content
  if (part === "document" && id) {
    show("document", "documents");
    library.document_(decoded(id), placeIn(query));
  } else if (part === "documents") {
    show("documents", "documents");
    library.documents();
  } else if (part in RECORDS) {
    show("record", part);
    record(...RECORDS[part]);
  } else {
    show("chat", "chat");
  }
}

/** A page of records in a place of its own, which an answer that comes too late fills unseen. */
async function record(title, fill) {
  const place = made("div");
  const coming = made("p", { class: "soft" }, "Loading…");
  $("record-title").textContent = title;
  $("record-body").replaceChildren(coming, place);
  const filling = fill(place);
  new MutationObserver(() => coming.remove()).observe(place, { childList: true });
  try {
    await filling;
    if (place.isConnected) trouble();
  } catch (error) {
    if (place.isConnected) trouble(error.message);
  }
  coming.remove();
}

function decoded(id) {
  try {
    return decodeURIComponent(id);
  } catch {
    return id;
  }
}

function show(section, page) {
  for (const each of document.querySelectorAll("main > section")) each.hidden = each.id !== section;
  for (const name of ["chat", "documents", ...Object.keys(RECORDS)]) {
    if (name === page) $(`to-${name}`).setAttribute("aria-current", "page");
    else $(`to-${name}`).removeAttribute("aria-current");
  }
  window.scrollTo(0, 0);
}

chat.start();
library.start();
settings.start(() => {
  chat.examples();
  route();
}, library.authorChosen);
window.addEventListener("hashchange", route);
route();
await settings.ready();
await chat.examples();
