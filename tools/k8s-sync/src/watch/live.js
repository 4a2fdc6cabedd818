// Shows what changes without a reload: the server says that something changed, the page is asked for again, and what
// is open or focused stays so.
"use strict";

const state = document.getElementById("live");
let asking = false;
let again = false;

async function refresh() {
  if (asking) {
    again = true;
    return;
  }
  asking = true;
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (!answer.ok && answer.status !== 404) throw new Error(answer.status);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const main = document.querySelector("main");
    const focused = document.activeElement;
    // A summary has no id of its own, but stands in something that has.
    const holder = focused?.closest("[id]");
    const toggled = new Map([...main.querySelectorAll("details[id]")].map((part) => [part.id, part.open]));
    main.replaceWith(fresh.querySelector("main"));
    document.title = fresh.title;
    for (const [id, open] of toggled) {
      const part = document.getElementById(id);
      if (part) part.open = open;
    }
    if (holder && !holder.isConnected) {
      const place = document.getElementById(holder.id);
      const inner = holder === focused ? place : place?.querySelector(`:scope > ${focused.localName}`);
      inner?.focus({ preventScroll: true });
    }
  } catch {
    state.textContent = "not connected";
  }
  asking = false;
  if (again) {
    again = false;
    refresh();
  }
}

const changes = new EventSource("/live");
changes.onopen = () => {
  state.textContent = "live";
  refresh();
};
changes.onmessage = refresh;
changes.onerror = () => {
  state.textContent = "not connected";
};
