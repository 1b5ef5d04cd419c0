// Talking to pgweir: requests, and the stream of snapshots.

// Who sends this is the page; see host.rs.
const OWN = { "X-Pgweir": "1" };

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function answer(response) {
  if (response.ok) return response.json();
  let message = `pgweir answers with status ${response.status}.`;
  try { message = (await response.json()).error; } catch { /* It was no JSON. */ }
  throw new Refused(response.status, message);
}

export const get = async (path, signal) =>
  answer(await fetch(`/api/v1/${path}`, { signal: signal ?? AbortSignal.timeout(8000), cache: "no-store" }));

export const post = async (path, body = {}) =>
  answer(await fetch(`/api/v1/${path}`, {
    method: "POST", headers: { ...OWN, "Content-Type": "application/json" },
    body: JSON.stringify(body), signal: AbortSignal.timeout(15000),
  }));

// So long without a snapshot, and nobody is there any more.
const SILENCE = 5000;

// Calls `each` with every snapshot until the stream ends, which is an error.
export async function follow(each, signal) {
  const silent = new AbortController();
  let timer;
  const listen = () => { clearTimeout(timer); timer = setTimeout(() => silent.abort(), SILENCE); };
  listen();
  try {
    const response = await fetch("/api/v1/events", { signal: AbortSignal.any([signal, silent.signal]), cache: "no-store" });
    if (!response.ok) await answer(response);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let buffer = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) throw new Error("The stream has ended.");
      listen();
      buffer += value;
      const messages = buffer.split("\n\n");
      buffer = messages.pop();
      for (const message of messages) {
        if (message.startsWith("data: ")) each(JSON.parse(message.slice(6)));
      }
    }
  } finally {
    clearTimeout(timer);
  }
}
