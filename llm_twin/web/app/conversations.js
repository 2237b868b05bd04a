// Conversations, kept in this browser only: newest first, at most MOST of them.
// One is {id, title, turns}; a turn {question, answers}; an answer {model, text, twin, thumb, stopped, error}.

import { trouble } from "./dom.js";

const PLACE = "twin.conversations";
const MOST = 50;
/** So many answered questions at most are sent along with the next one. */
export const SENT = 10;

export function all() {
  try {
    const kept = JSON.parse(localStorage.getItem(PLACE) || "[]");
    return Array.isArray(kept) ? kept : [];
  } catch {
    return [];
  }
}

function keep(conversations) {
  try {
    localStorage.setItem(PLACE, JSON.stringify(conversations.slice(0, MOST)));
  } catch {
    trouble("This browser has no room left for conversations: delete some to keep this one.");
  }
}

export const fresh = () => ({ id: crypto.randomUUID?.() || String(Math.random()), title: "", turns: [] });

export function save(conversation) {
  conversation.title ||= conversation.turns[0]?.question.slice(0, 80) || "";
  keep([conversation, ...all().filter((other) => other.id !== conversation.id)]);
}

export function remove(id) {
  keep(all().filter((other) => other.id !== id));
}

/** The turns that were answered. */
export const answered = (turns) => turns.filter((turn) => turn.answers.some((answer) => answer.text));

/** What a model is told of the turns before: each question with its own answer, or the first there is. */
export function messages(turns, model, question) {
  const before = answered(turns).slice(-SENT).flatMap((turn) => {
    const given = turn.answers.filter((answer) => answer.text);
    const answer = given.find((each) => each.model === model) || given[0];
    return [{ role: "user", content: turn.question }, { role: "assistant", content: answer.text }];
  });
  return [...before, { role: "user", content: question }];
}
