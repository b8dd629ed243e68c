// Asks for this page again every 60 seconds and puts what has changed into it: scroll position, focus and whatever is
// being typed stay.  Without this script the page reloads itself (see the noscript in leaderboard.html).
"use strict";

const PERIOD_MS = 60_000;
const PARTS = ["totals", "rows", "updated"];
const trouble = document.getElementById("trouble");
let last = Date.now();

function selecting() {
  const selection = window.getSelection();
  return selection !== null && !selection.isCollapsed;
}

function put(fresh) {
  const focused = document.activeElement ? document.activeElement.id : "";
  const [x, y] = [window.scrollX, window.scrollY];
  for (const id of PARTS) {
    const [there, instead] = [document.getElementById(id), fresh.getElementById(id)];
    if (there && instead) there.replaceChildren(...instead.childNodes);
  }
  const again = focused && document.getElementById(focused);
  if (again && again !== document.activeElement) again.focus({ preventScroll: true });
  window.scrollTo(x, y);
}

async function refresh() {
  last = Date.now();
  try {
    const answer = await fetch(window.location.href, { cache: "no-store", credentials: "omit" });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    put(new DOMParser().parseFromString(await answer.text(), "text/html"));
    trouble.textContent = "";
  } catch {
    trouble.textContent = "The last try to refresh failed; the next one follows.";
  }
}

function look() {
  if (!document.hidden && !selecting() && Date.now() - last >= PERIOD_MS) refresh();
}

window.setInterval(look, 1000);
document.addEventListener("visibilitychange", look);
