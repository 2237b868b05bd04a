// The page: which of its parts the address names, and what happens first.

import * as chat from "./chat.js";
import { $ } from "./dom.js";
import * as library from "./library.js";
import * as settings from "./settings.js";

/** Show the part that the hash names: #/, #/documents, #/document/ID?start=N&end=N. */
function route() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [part, id] = path.split("/");
  if (part === "main") return; // the link that skips to the content
  if (part === "document" && id) {
    const given = new URLSearchParams(query);
    show("document", "documents");
    library.document_(decoded(id), Number(given.get("start")), Number(given.get("end")));
  } else if (part === "documents") {
    show("documents", "documents");
    library.documents();
  } else {
    show("chat", "chat");
  }
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
  for (const name of ["chat", "documents"]) {
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
});
window.addEventListener("hashchange", route);
route();
await settings.ready();
await chat.examples();
