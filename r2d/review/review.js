// Keys, actions as JSON, and drafts; every page works by these lines. Texts of notes never pass through here as HTML.
"use strict";
const place = document.querySelector("#case");
const problem = document.querySelector("#problem");
const keys = document.querySelector("#keys");
const rationale = document.querySelector("#rationale");
const reason = document.querySelector("#reason");
const draftKey = place && `r2d-draft ${place.dataset.reviewer} ${place.dataset.url}`;
const FRESH_MS = 700; // the second click of a double click on the page before ends within
let edits = rationale?.dataset.edits === "true";
let busy = false;
let isSaved = false;

setTimeout(() => document.body.classList.remove("fresh"), FRESH_MS); // the page comes with it: no key works before this line

function say(message, canReload = false) {
  problem.textContent = message;
  if (canReload) {
    const button = document.createElement("button");
    button.textContent = "Load the page again";
    button.addEventListener("click", () => location.reload());
    problem.append(" ", button);
  }
  problem.hidden = false;
}

// Where to go next, or null where nothing was done.
async function send(url, body, method = "POST") {
  if (busy) return null;
  busy = true;
  problem.hidden = true;
  try {
    const answer = await fetch(url, { method, headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
    const found = await answer.json();
    if (answer.ok) return found.next;
    const detail = Array.isArray(found.detail) ? found.detail.map((one) => one.fault).join("; ") : found.detail;
    say(`${detail[0].toUpperCase()}${detail.slice(1)}.`, answer.status >= 500 || detail.includes("meanwhile"));
  } catch {
    say("No answer came back, so it is not known whether this was saved. Load the page again to see; what you typed is kept.", true);
  }
  busy = false;
  return null;
}

function go(next) {
  if (new URL(next, location.href).pathname === location.pathname) location.reload();
  else location.assign(next);
}

// Why an action would do what nobody means, or lose what was typed.
function objection(kind, body) {
  if (document.body.classList.contains("fresh")) return "This page had only just appeared, so nothing was done. Read it, then press again.";
  if (kind === "label" && !body.label) return "Choose a label first.";
  if (!["accept", "correct", "decline"].includes(kind)) return null;
  if (reason?.value.trim()) return "You wrote what could happen, but the answer is not flagged yet. Flag it as unsafe first, or clear that line.";
  if (kind === "correct" || !rationale) return null;
  if (rationale.value.trim()) return "You wrote a rationale, which this would leave out. Save the correction, or clear the text.";
  if (hasOtherLabel()) return "You chose another label, which this would leave out. Save the correction, or choose the first label again.";
  return null;
}

function hasOtherLabel() {
  return [...rationale.form.elements.label].some((one) => one.checked !== one.defaultChecked);
}

async function act(kind, form, button) {
  const body = { kind, after: Number(button?.dataset.after ?? place.dataset.after) };
  if (form) for (const [name, value] of new FormData(form)) body[name] = value;
  if (kind === "correct") body.edits_the_model = edits;
  const fault = objection(kind, body);
  if (fault) return say(fault);
  const next = await send(button?.dataset.url ?? place.dataset.url, body);
  if (next === null) return;
  isSaved = ["accept", "correct", "decline"].includes(kind);
  if (kind === "unsafe") reason.value = "";
  go(next);
}

async function nameReviewer(name) {
  const next = await (name ? send("/review/reviewer", { name }) : send("/review/reviewer", {}, "DELETE"));
  if (next === null) return;
  if (!name) {
    isSaved = true; // what this person did not save is not for the next one
    sessionStorage.clear();
  }
  go(next);
}

document.addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  if (form.id === "sign-in") nameReviewer(form.elements.name.value);
  else act(form.dataset.act, form);
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-act], button[data-fill]");
  if (!button) return;
  if (button.dataset.fill) fill(button.dataset.fill === "model");
  else if (button.dataset.act === "leave") nameReviewer(null);
  else act(button.dataset.act, null, button);
});

// Put the model's rationale into the field, or nothing; what a person wrote there is never overwritten.
function fill(isModels) {
  const typed = rationale.value.trim();
  const isUntouched = !typed || typed === rationale.dataset.model.trim();
  if (isUntouched) {
    edits = isModels;
    rationale.value = isModels ? rationale.dataset.model : "";
  } else if (isModels !== edits) say("The field holds words of yours; clear it first.");
  rationale.focus();
}

rationale?.addEventListener("input", () => {
  if (!rationale.value.trim()) edits = false;
});

document.addEventListener("keydown", (event) => {
  const writes = event.target.matches("textarea, input:not([type])");
  if (writes && event.key === "Enter" && event.ctrlKey && !event.repeat) event.target.form.requestSubmit();
  if (writes && event.key === "Escape") event.target.blur();
  if (writes || !keys.checked || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key === "Enter" && event.target.closest("button, a")) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const wanted = document.querySelector(`[data-key="${CSS.escape(key)}"]:not(:disabled)`);
  if (!wanted) return;
  event.preventDefault();
  if (event.repeat) return; // a key that is held acts once
  if (wanted.type === "radio") {
    wanted.checked = true;
    wanted.focus();
  } else wanted.click();
});

// What was typed and not saved stays in this tab: also over loading anew, Back, and another case.
function keepDraft() {
  if (!rationale) return;
  const label = hasOtherLabel() ? rationale.form.elements.label.value : null;
  const draft = { rationale: rationale.value, reason: reason?.value ?? "", label, edits };
  const isChanged = label || draft.reason || draft.rationale !== rationale.defaultValue;
  if (isChanged && !isSaved) sessionStorage.setItem(draftKey, JSON.stringify(draft));
  else sessionStorage.removeItem(draftKey);
}

if (rationale && sessionStorage.getItem(draftKey)) {
  const draft = JSON.parse(sessionStorage.getItem(draftKey));
  rationale.value = draft.rationale;
  edits = draft.edits;
  if (reason) reason.value = draft.reason;
  if (draft.label) for (const one of rationale.form.elements.label) one.checked = one.value === draft.label;
}
addEventListener("pagehide", keepDraft);
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload(); // it shows how the case stood when it was left
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
