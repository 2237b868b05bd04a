// What both pages share: the state on the server, texts as text, keys, and saying when something went wrong.
// Nothing that came from outside is ever parsed as HTML: every text goes through textContent.

export const $ = (id) => document.getElementById(id);

const SETTLE = 350; // milliseconds: a second press that belongs to the item before is not an answer to this one
let shownAt = 0;
let busy = false;

/** Show one of the page's sections, from its top, with its heading read out. */
export function show(id) {
  for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== id;
  const heading = $(id).querySelector("h1");
  window.scrollTo(0, 0);
  heading.focus({ preventScroll: true });
  shownAt = performance.now();
}

/** How far the person is. */
export function progress(done, total) {
  $("progress").max = Math.max(1, total);
  $("progress").value = done;
  $("count").textContent = `${done} of ${total}`;
}

/** Put paragraphs of plain text into a place. */
export function put(place, text) {
  place.replaceChildren(...text.split(/\n{2,}/).map((piece) => made("p", piece)));
}

/** A new element that holds texts and elements. */
export function made(tag, ...children) {
  const element = document.createElement(tag);
  element.append(...children);
  return element;
}

/** The state now, or after an answer. Undefined, and the reason on the page, when the server gives none. */
export async function ask(path, body) {
  const sent = body && {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  };
  const trouble = $("trouble");
  try {
    const response = await fetch(path, sent || {});
    const said = await response.json();
    trouble.hidden = response.ok;
    if (response.ok) return said;
    trouble.textContent = said.error;
  } catch {
    trouble.textContent =
      "The program behind this page has stopped. Start it again in the terminal: every answer so far is kept.";
    trouble.hidden = false;
  }
  return undefined;
}

/** Answer once: not while an answer is under way, nor in the moment when an item has just come up. */
export async function once(work) {
  if (busy || performance.now() - shownAt < SETTLE) return;
  busy = true;
  document.body.classList.add("busy");
  try {
    await work();
  } finally {
    busy = false;
    document.body.classList.remove("busy");
  }
}

/** Let keys press buttons while the section that holds them is shown: {"1": "pick1"}. */
export function keys(table) {
  document.addEventListener("keydown", (event) => {
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    const button = $(table[event.key.toLowerCase()]);
    if (button && !button.closest("section").hidden) button.click();
  });
}
