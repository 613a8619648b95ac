// Puts what the daemon says by now in the place of what the page has, once a second.  Without it the page loads itself
// anew.  What is put in is the daemon's own markup, with all that is others' escaped in it.
"use strict";

const PERIOD = 1000;
const hold = document.getElementById("hold");
const note = document.getElementById("note");
const shown = new Map();
let held = false;

function isInUse(place) {
  const selection = document.getSelection();
  return selection && !selection.isCollapsed && place.contains(selection.anchorNode);
}

function show(sections) {
  for (const [id, markup] of Object.entries(sections)) {
    const place = document.getElementById(id);
    if (place && shown.get(id) !== markup && !isInUse(place)) {
      place.innerHTML = markup;
      shown.set(id, markup);
    }
  }
}

function say(text) {
  if (note.textContent !== text) note.textContent = text;
}

async function look() {
  if (!held && !document.hidden) {
    try {
      const answer = await fetch("live.json", { cache: "no-store" });
      if (!answer.ok) throw new Error(`it says ${answer.status}`);
      show((await answer.json()).sections);
      say("");
    } catch {
      say("The daemon does not answer: this is how it was.");
    }
  }
  setTimeout(look, PERIOD);
}

hold.hidden = false;
hold.addEventListener("click", () => {
  held = !held;
  hold.setAttribute("aria-pressed", String(held));
  say(held ? "Held." : "");
});
look();
