// Conversations, kept in this browser only: newest first, at most MOST of them.
// One is {id, title, turns}; a turn {question, answers}; an answer {model, text, twin, thumb, stopped, error}.

import { trouble } from "./dom.js";

const PLACE = "twin.conversations";
const MOST = 50;

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

/** What a model is told of the turns before: each question with its own answer, or the first there is. */
export function messages(turns, model, question) {
  const before = turns.flatMap((turn) => {
    const answer = turn.answers.find((each) => each.model === model) || turn.answers[0];
    return answer?.text
      ? [{ role: "user", content: turn.question }, { role: "assistant", content: answer.text }]
      : [];
  });
  return [...before.slice(-20), { role: "user", content: question }];
}
