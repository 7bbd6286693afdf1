// Keys, and actions as JSON; every page works by these few lines. Texts of notes never pass through here as HTML.
"use strict";
const place = document.querySelector("#case");
const problem = document.querySelector("#problem");
const keys = document.querySelector("#keys");
let edits = false;
let busy = false;

async function send(url, body) {
  if (busy) return;
  busy = true;
  problem.hidden = true;
  try {
    const answer = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    const found = await answer.json();
    if (answer.ok) {
      location.assign(found.next);
      if (new URL(found.next, location.href).pathname === location.pathname) location.reload();
      return;
    }
    const detail = Array.isArray(found.detail) ? found.detail.map((one) => one.fault).join("; ") : found.detail;
    problem.textContent = answer.status === 409 && detail.includes("meanwhile") ? `${detail}. Load the page again.` : detail;
  } catch {
    problem.textContent = "The service cannot be reached. Nothing was saved; try again.";
  }
  problem.hidden = false;
  busy = false;
}

function act(kind, form, url, after) {
  const body = { kind, after: Number(after ?? place.dataset.after) };
  if (form) for (const [name, value] of new FormData(form)) body[name] = value;
  if (kind === "label" && !body.label) {
    problem.textContent = "Choose a label first.";
    problem.hidden = false;
    return;
  }
  if (kind === "correct") body.edits_the_model = edits;
  send(url ?? place.dataset.url, body);
}

document.addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  if (form.id === "sign-in") send("/review/reviewer", { name: form.elements.name.value });
  else act(form.dataset.act, form);
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[type=button], button[data-url]");
  if (!button) return;
  if (button.dataset.fill) {
    const text = document.querySelector("#rationale");
    edits = button.dataset.fill === "model";
    text.value = edits ? text.dataset.model : "";
    text.focus();
  } else act(button.dataset.act, null, button.dataset.url, button.dataset.after);
});

document.addEventListener("keydown", (event) => {
  const writes = event.target.matches("textarea, input:not([type])");
  if (writes && event.key === "Enter" && event.ctrlKey) event.target.form.requestSubmit();
  if (writes && event.key === "Escape") event.target.blur();
  if (writes || !keys.checked || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key === "Enter" && event.target.closest("button, a")) return;
  const wanted = document.querySelector(`[data-key="${CSS.escape(event.key)}"]:not(:disabled)`);
  if (!wanted) return;
  event.preventDefault();
  if (wanted.type === "radio") {
    wanted.checked = true;
    wanted.focus();
  } else wanted.click();
});

function remember() {
  document.body.classList.toggle("no-keys", !keys.checked);
  localStorage.setItem("r2d-keys", keys.checked ? "on" : "off");
}
keys.checked = localStorage.getItem("r2d-keys") !== "off";
keys.addEventListener("change", remember);
remember();

const evidence = document.querySelector("#evidence");
if (evidence) {
  fetch(evidence.dataset.url)
    .then((answer) => (answer.ok ? answer.text() : Promise.reject(answer)))
    .then((text) => { evidence.innerHTML = text; }) // escaped where it was made
    .catch(() => { evidence.textContent = "What the label rests on could not be measured."; });
}
