// The server's routes. Every call gives what was asked for, or throws an Error whose message says what to do and can
// be shown; `status` is the server's, where it answered.

const KEY = "twin.key";
const MOST_LISTED = 200; // documents in one answer
const BROKEN_OFF = "The answer broke off: the connection was lost. Ask again.";

export const key = () => sessionStorage.getItem(KEY) || "";
export function setKey(value) {
  if (value) sessionStorage.setItem(KEY, value);
  else sessionStorage.removeItem(KEY);
}

async function call(path, body, signal) {
  const headers = key() ? { authorization: `Bearer ${key()}` } : {};
  if (body) headers["content-type"] = "application/json";
  const sent = { headers, signal, method: body ? "POST" : "GET", body: body && JSON.stringify(body) };
  let response;
  try {
    response = await fetch(path, sent);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer. Is `twin serve` still running?");
  }
  if (!response.ok) throw Object.assign(new Error(await reason(response)), { status: response.status });
  return response;
}

async function reason(response) {
  if (response.status === 401) return "This server asks for a key: put it into the settings.";
  if (response.status === 429) return "The twin is busy with other questions. Try again in a moment.";
  const said = await response.json().catch(() => ({}));
  return said.error?.message || `The server refused this (${response.status}). What it printed where it runs may say why.`;
}

async function json(...given) {
  const response = await call(...given);
  try {
    return await response.json();
  } catch {
    throw new Error("The server's answer broke off. Try again.");
  }
}

export const models = () => json("v1/models");
export const documents = (limit, offset) => json(`documents?limit=${limit}&offset=${offset}`);
export const document_ = (id) => json(`documents/${encodeURIComponent(id)}`);
export const search = (query, author, limit = 10) => json("search", { query, author, limit });
export const feedback = (given) => json("feedback", given);
export const voice = (text) => json("voice", { text });
export const dataset = () => json("dataset");
export const samples = (split, limit, offset) =>
  json(`dataset/samples?limit=${limit}&offset=${offset}${split && `&split=${split}`}`);
export const runs = () => json("runs");
export const curve = (id, after) => json(`runs/${encodeURIComponent(id)}?after=${after}`);
export const reports = () => json("reports");
export const compare = (a, b) => json(`reports/${encodeURIComponent(a)}/against/${encodeURIComponent(b)}`);
export const traces = (limit, offset) => json(`traces?limit=${limit}&offset=${offset}`);
export const render = async (text) => (await json("render", { text })).html;

/** The lines of all documents that may be seen. */
export async function everyDocument() {
  const found = [];
  for (;;) {
    const page = await documents(MOST_LISTED, found.length);
    found.push(...page.documents);
    if (!page.documents.length || found.length >= page.total) return found;
  }
}

/** Show a report in a tab of its own; where a key is needed, which a tab does not send, save it as a file. */
export async function openReport(id) {
  const path = `reports/${encodeURIComponent(id)}`;
  if (!key()) {
    window.open(path, "_blank", "noopener");
    return;
  }
  const file = URL.createObjectURL(await (await call(path)).blob());
  const link = Object.assign(document.createElement("a"), { href: file, download: `${id}.html` });
  link.click();
  URL.revokeObjectURL(file);
}

/** The pieces of an answer as they come: {text}, and at the end {twin}. */
export async function* chat(request, signal) {
  const response = await call("v1/chat/completions", { ...request, stream: true }, signal);
  for await (const data of events(response.body)) {
    if (data === "[DONE]") return;
    const chunk = JSON.parse(data);
    if (chunk.error) throw new Error(chunk.error.message);
    const choice = chunk.choices?.[0];
    const twin = chunk.twin || choice?.delta?.twin || choice?.twin;
    if (choice?.delta?.content) yield { text: choice.delta.content };
    if (twin) yield { twin };
  }
  throw new Error(BROKEN_OFF);
}

/** The data of server-sent events. */
async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let pending = "";
  try {
    for (;;) {
      const { done, value } = await reader.read().catch(broken);
      if (done) return;
      pending += value.replaceAll("\r", "");
      const whole = pending.split("\n\n");
      pending = whole.pop();
      for (const event of whole) yield* datas(event);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function broken(error) {
  throw error.name === "AbortError" ? error : new Error(BROKEN_OFF);
}

function datas(event) {
  const lines = event.split("\n").filter((line) => line.startsWith("data:"));
  return lines.length ? [lines.map((line) => line.slice(5).trimStart()).join("\n")] : [];
}
