// The conversation: ask, stop, ask again, edit a question. Which one is shown, and what is under way.

import { answerView } from "./answer.js";
import * as api from "./api.js";
import * as conversations from "./conversations.js";
import { $, button, made, say, trouble } from "./dom.js";
import * as settings from "./settings.js";

let current = conversations.fresh();
let running = null;

/** Ask, as the turn at `place`; what came after it goes. */
async function ask(question, place = current.turns.length) {
  const models = settings.asked();
  if (running || !question || !models.length) return;
  trouble();
  const conversation = current;
  conversation.turns.length = place;
  while ($("turns").children.length > place) $("turns").lastChild.remove();
  const turn = { question, answers: models.map((model) => ({ model, text: "" })) };
  const before = conversation.turns.slice();
  conversation.turns.push(turn);
  const views = showTurn(turn, place);
  busy(new AbortController());
  say("The answer is coming");
  await Promise.all(turn.answers.map((answer, i) => stream(before, turn, answer, views[i])));
  busy(null);
  keep(conversation);
}

async function stream(before, turn, answer, view) {
  const request = {
    model: answer.model,
    messages: conversations.messages(before, answer.model, turn.question),
    temperature: settings.temperature(),
  };
  try {
    for await (const piece of api.chat(request, running.signal)) {
      if (piece.text) view.grow(piece.text);
      if (piece.twin) answer.twin = piece.twin;
    }
  } catch (error) {
    if (error.name === "AbortError") answer.stopped = true;
    else answer.error = error.message;
  }
  await view.finish();
}

function busy(controller) {
  running = controller;
  $("stop").hidden = !controller;
  $("send").hidden = Boolean(controller);
  document.body.classList.toggle("busy", Boolean(controller));
}

function keep(conversation) {
  conversations.save(conversation);
  list();
}

/** Put a turn on the page; the views of its answers. */
function showTurn(turn, place) {
  const changed = () => keep(current);
  const views = turn.answers.map((answer) => answerView(turn.question, answer, changed));
  const answers = made("div", { class: "answers" }, ...views.map((view) => view.element));
  answers.classList.toggle("pair", views.length > 1);
  const element = made("div", { class: "turn" });
  element.append(questionView(turn, place, element), answers);
  $("turns").append(element);
  $("empty").hidden = true;
  element.scrollIntoView({ block: "start" });
  return views;
}

function questionView(turn, place, element) {
  const words = made("h2", { class: "question", dir: "auto" }, turn.question);
  const again = button("Ask again", () => ask(turn.question, place), { class: "quiet small" });
  const edit = button("Edit", () => editQuestion(turn, place, element), { class: "quiet small" });
  return made("div", { class: "asked" }, words, made("div", { class: "row" }, edit, again));
}

function editQuestion(turn, place, element) {
  if (running) return;
  const text = made("textarea", { rows: "3", "aria-label": "Your question, edited" });
  text.value = turn.question;
  const submit = (event) => {
    event.preventDefault();
    ask(text.value.trim(), place);
  };
  const back = () => element.replaceChild(questionView(turn, place, element), element.firstChild);
  const row = made("div", { class: "row" }, made("button", { class: "main" }, "Ask this"), button("Cancel", back));
  const note = made("p", { class: "soft" }, "The answer and what came after it are replaced.");
  element.replaceChild(made("form", { class: "editor", onsubmit: submit }, text, note, row), element.firstChild);
  enterSends(text, submit);
  text.focus();
}

/** Show a conversation, from the browser's own store or a fresh one. */
async function show(conversation) {
  running?.abort();
  current = conversation;
  $("turns").replaceChildren();
  $("empty").hidden = Boolean(conversation.turns.length);
  const views = conversation.turns.map((turn, place) => [turn, showTurn(turn, place)]);
  for (const [turn, shown] of views) {
    shown.forEach((view, i) => view.element.querySelector(".words").append(turn.answers[i].text));
    await Promise.all(shown.map((view) => view.finish()));
  }
  list();
}

/** Draw the list of conversations anew. */
function list() {
  const rows = conversations.all().map((each) => {
    const title = each.title || "Untitled";
    const open = button(title, () => show(each), { class: "quiet", "aria-current": each.id === current.id && "true" });
    const remove = button("Delete", () => forget(each.id), { class: "quiet small", "aria-label": `Delete: ${title}` });
    return made("li", { class: "row" }, open, remove);
  });
  $("conversations").replaceChildren(...rows);
}

function forget(id) {
  conversations.remove(id);
  say("The conversation was deleted");
  if (id === current.id) show(conversations.fresh());
  else list();
  $("new").focus();
}

/** Questions to begin with, after what the documents are called. */
export async function examples() {
  try {
    const own = ownOf((await api.documents(100, 0)).documents);
    const questions = own.slice(0, 4).map(({ title }) => `What did you write about in “${title}”?`);
    const rows = questions.map((question) => made("li", {}, button(question, () => ask(question), { dir: "auto" })));
    $("examples").replaceChildren(...rows);
    settings.call(own[0]?.author || settings.twinName());
    $("empty-title").textContent = `Ask ${own[0]?.author || settings.twinName()}`;
  } catch (error) {
    trouble(error.message);
  }
}

/** Those by the author that the twin is named after; all where no name tells. */
function ownOf(documents) {
  const named = (author) => author.toLowerCase().replace(/[^a-z0-9]+/g, "-") === settings.twinName();
  const own = documents.filter(({ author }) => named(author));
  return own.length ? own : documents;
}

function enterSends(text, send) {
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) send(event);
  });
}

async function send(event) {
  event.preventDefault();
  await settings.ready();
  const question = $("question").value.trim();
  if (!question || running || !settings.asked().length) return; // the words stay where they are
  $("question").value = "";
  ask(question);
}

/** Let the page work; it begins with a fresh conversation. */
export function start() {
  $("ask").addEventListener("submit", send);
  enterSends($("question"), send);
  $("stop").addEventListener("click", () => {
    running?.abort();
    $("question").focus();
  });
  $("new").addEventListener("click", () => {
    show(conversations.fresh());
    $("question").focus();
  });
  if (window.matchMedia("(min-width: 70rem)").matches) $("history").open = true;
  list();
}
