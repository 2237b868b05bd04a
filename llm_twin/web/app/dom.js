// Making elements. Whatever came from outside is text: it enters the page through textContent alone.

export const $ = (id) => document.getElementById(id);

/** A new element: attributes, listeners (`onclick: f`), then children; texts stay texts. */
export function made(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function button(text, onclick, attributes = {}) {
  return made("button", { type: "button", onclick, ...attributes }, text);
}

/** Show what went wrong, or nothing. */
export function trouble(text = "") {
  $("trouble").textContent = text;
  $("trouble").hidden = !text;
}

/** Do what may fail; whether it did not. What went wrong stands in `place`, and is read out, until it is done again. */
export async function tried(place, work) {
  place.replaceChildren();
  try {
    await work();
    return true;
  } catch (error) {
    place.replaceChildren(made("p", { class: "trouble", role: "alert" }, error.message));
    return false;
  }
}

/** Read out by screen readers, shown to nobody. */
export function say(text) {
  $("said").textContent = text;
}

/** Only addresses of the web are links. */
export function webAddress(url) {
  return /^https?:\/\//i.test(url || "") ? url : null;
}
