// What the documents are called and who wrote them, asked for once and shared by the pages.

import * as api from "./api.js";

let asked = null;
let lines = [];

/** The lines of all documents; the same ones until `anew`. */
export function all() {
  return (asked ||= load());
}

async function load() {
  try {
    return (lines = await api.everyDocument());
  } catch (error) {
    asked = null;
    throw error;
  }
}

/** Have them asked for again: some may have been collected meanwhile, or a key opened more. */
export function anew() {
  asked = null;
}

/** Who wrote them, as far as is known by now. */
export const authors = () => [...new Set(lines.map(({ author }) => author))].sort((a, b) => a.localeCompare(b));
