// Talking to edge, and the few things that both pages show alike.

export class Refused extends Error {
  constructor(status, reason, sentence) {
    super(sentence);
    this.status = status;
    this.reason = reason;
  }
}

export async function ask(method, path, body) {
  let answer;
  try {
    answer = await fetch(path, {
      method,
      headers: body === undefined ? {} : { "content-type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new Refused(0, "away", "The pool doesn’t answer. Check your connection, then try again.");
  }
  if (answer.status === 204) return null;
  const said = await answer.json().catch(() => null);
  if (answer.ok && said !== null) return said;
  const error = said?.error ?? { reason: "unknown", sentence: `The pool answered ${answer.status}. Try again.` };
  throw new Refused(answer.status, error.reason, error.sentence);
}

export const byId = (id) => document.getElementById(id);

export function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

export function notice(text, isError = true) {
  const place = byId("notice");
  // Beside the button that was pressed.
  document.querySelector(".steps .is-current")?.append(place);
  place.hidden = !text;
  place.textContent = text ?? "";
  place.classList.toggle("is-error", isError);
  if (text) place.scrollIntoView({ block: "nearest" });
}

// Does what a button is for: once at a time, and what goes wrong is said.
export function onPress(button, work) {
  button.addEventListener("click", async () => {
    button.disabled = true;
    notice(null);
    try {
      await work();
    } catch (error) {
      notice(error.message);
    } finally {
      button.disabled = false;
    }
  });
}

export function short(hex) {
  return hex.length > 20 ? `${hex.slice(0, 10)}…${hex.slice(-8)}` : hex;
}

export function day(instant) {
  return new Date(instant).toLocaleDateString(undefined, { year: "numeric", month: "long", day: "numeric" });
}

// The pool, or null where this page was opened under another name than the pool's own: then nothing signed would count.
export async function openPool() {
  const pool = await ask("GET", "/pool");
  for (const place of document.querySelectorAll("[data-pool]")) place.textContent = pool.pool;
  for (const button of document.querySelectorAll("[data-copies]")) {
    button.addEventListener("click", () => copy(button, byId(button.dataset.copies).textContent));
  }
  if (pool.public_url !== location.origin) {
    notice(`This page is at ${pool.public_url}${location.pathname}. Open it there.`);
    return null;
  }
  return pool;
}

async function copy(button, text) {
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Select it";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
}
