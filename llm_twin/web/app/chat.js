// The conversation: ask, stop, ask again, edit a question. Which one is shown, and what is under way.

import { answerView } from "./answer.js";
import * as api from "./api.js";
import * as conversations from "./conversations.js";
import { $, button, made, say, trouble } from "./dom.js";
import * as settings from "./settings.js";

let current = conversations.fresh();
let running = null;

/** Ask, as the turn at `place`. What stands there and behind it stays until the new answer begins, and can be had back. */
async function ask(question, place = current.turns.length) {
  const models = settings.asked();
  if (running || !question || !models.length) return;
  trouble();
  const conversation = current;
  const before = conversation.turns.slice(0, place);
  const replaced = conversation.turns.slice(place);
  const turn = { question, answers: models.map((model) => ({ model, text: "" })) };
  const views = answerViews(turn);
  const mine = new AbortController();
  let begun = false;
  const begin = () => {
    if (begun || mine.signal.aborted) return;
    begun = true;
    conversation.turns.splice(place, Infinity, turn);
    showTurn(turn, place, views, conversations.answered(replaced).length ? replaced : []);
  };
  const waiting = conversations.answered(replaced).length ? wait(place) : begin();
  busy(mine);
  say("The answer is coming");
  await Promise.all(turn.answers.map((answer, i) => stream(before, turn, answer, views[i], mine, begin)));
  busy(null);
  waiting?.remove();
  if (begun) keep(conversation);
  else if (conversation === current) trouble(turn.answers.find(({ error }) => error)?.error);
}

/** An answer as it comes; `begin` is called with its first words, or at its end where it has none. */
async function stream(before, turn, answer, view, mine, begin) {
  const messages = conversations.messages(before, answer.model, turn.question);
  const request = { model: answer.model, messages, ...settings.sampling() };
  try {
    for await (const piece of api.chat(request, mine.signal)) {
      begin();
      if (piece.text) view.grow(piece.text);
      if (piece.twin) answer.twin = piece.twin;
    }
  } catch (error) {
    if (error.name === "AbortError") answer.stopped = true;
    else answer.error = error.message;
  }
  await view.finish();
}

/** Say at a turn that another answer is on its way. */
function wait(place) {
  const note = made("p", { class: "soft waiting" }, "Asking again…");
  $("turns").children[place].querySelector(".asked, .editor").after(note);
  return note;
}

function busy(controller) {
  running = controller;
  $("stop").hidden = !controller;
  $("send").hidden = Boolean(controller);
  document.body.classList.toggle("busy", Boolean(controller));
}

function keep(conversation) {
  if (!conversation.deleted) conversations.save(conversation);
  list();
}

function answerViews(turn) {
  return turn.answers.map((answer) => answerView(turn.question, answer, () => keep(current)));
}

/** Put a turn on the page at `place`, in the place of what stands there and behind it. */
function showTurn(turn, place, views, replaced = []) {
  while ($("turns").children.length > place) $("turns").lastChild.remove();
  const answers = made("div", { class: "answers" }, ...views.map((view) => view.element));
  answers.classList.toggle("pair", views.length > 1);
  const element = made("div", { class: "turn" });
  element.append(questionView(turn, place, element), ...(replaced.length ? [undoing(place, replaced)] : []), answers);
  $("turns").append(element);
  $("empty").hidden = true;
  element.scrollIntoView({ block: "start" });
  tellForgotten();
}

/** What a new answer took the place of, and how to have it back. */
function undoing(place, replaced) {
  const later = replaced.length - 1;
  const rest = later ? ` and ${later} later ${later === 1 ? "question" : "questions"}` : "";
  const conversation = current;
  const undo = button("Undo", async () => {
    running?.abort();
    conversation.turns.splice(place, Infinity, ...replaced);
    keep(conversation);
    await show(conversation);
    say("The earlier answer is back");
    $("turns").children[place]?.querySelector(".asked button").focus();
  }, { class: "quiet" });
  return made("p", { class: "soft row undo" }, `The earlier answer${rest} gave way to this one.`, undo);
}

function questionView(turn, place, element) {
  const words = made("h2", { class: "question", dir: "auto" }, turn.question);
  const again = button("Ask again", () => ask(turn.question, place), { class: "quiet" });
  const edit = button("Edit", () => editQuestion(turn, place, element), { class: "quiet" });
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
  const note = made("p", { class: "soft" }, "A new answer takes the place of this one and of what came after it.");
  element.replaceChild(made("form", { class: "editor", onsubmit: submit }, text, note, row), element.firstChild);
  enterSends(text, submit);
  text.focus();
}

/** Show a conversation, from the browser's own store or a fresh one. */
async function show(conversation) {
  running?.abort();
  trouble();
  current = conversation;
  $("turns").replaceChildren();
  $("empty").hidden = Boolean(conversation.turns.length);
  tellForgotten();
  const shown = conversation.turns.map((turn) => [turn, answerViews(turn)]);
  shown.forEach(([turn, views], place) => showTurn(turn, place, views));
  list();
  for (const [turn, views] of shown) {
    views.forEach((view, i) => view.element.querySelector(".words").append(turn.answers[i].text));
    await Promise.all(views.map((view) => view.finish()));
  }
}

/** Say when the conversation is longer than what is sent along with the next question. */
function tellForgotten() {
  const gone = conversations.answered(current.turns).length - conversations.SENT;
  $("forgotten").hidden = gone <= 0;
  $("forgotten").textContent = gone > 0
    ? `Only the last ${conversations.SENT} answers are sent along with a question; ${gone} before them ${gone === 1 ? "is" : "are"} not.`
    : "";
}

/** Draw the list of conversations anew. */
function list() {
  tellForgotten();
  const rows = conversations.all().map((each) => {
    const title = each.title || "Untitled";
    const open = button(title, () => show(each), { class: "quiet", "aria-current": each.id === current.id && "true" });
    const remove = button("Delete", () => forget(each.id), { class: "quiet", "aria-label": `Delete: ${title}` });
    return made("li", { class: "row" }, open, remove);
  });
  $("conversations").replaceChildren(...rows);
}

function forget(id) {
  conversations.remove(id);
  say("The conversation was deleted");
  if (id === current.id) {
    current.deleted = true; // an answer that is stopped by this must not bring it back
    show(conversations.fresh());
  } else list();
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
  const own = documents.filter(({ author }) => settings.isTwins(author));
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
