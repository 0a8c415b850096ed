"use strict";
// Hover and focus show details; the arrow keys go through the iteration step by step; the picture can be moved and scaled.

const data = JSON.parse(document.getElementById("data").textContent);
const stage = document.getElementById("stage");
const picture = stage.querySelector("svg");
const said = document.getElementById("said");
const slider = document.getElementById("slider");
const calm = matchMedia("(prefers-reduced-motion: reduce)");

// -- details ------------------------------------------------------------------------------------------------

const boxes = new Map();
for (const element of picture.querySelectorAll(".box[data-id]")) {
  const id = element.dataset.id;
  boxes.set(id, [...(boxes.get(id) || []), element]);
}
const wires = [...picture.querySelectorAll(".wire[data-from]")];
let pinned = null;

function showDetails(id) {
  const box = data.boxes[id];
  document.getElementById("name").textContent = box.label;
  const list = document.getElementById("facts");
  list.replaceChildren();
  for (const [heading, text] of box.details) {
    const dt = document.createElement("dt");
    const dd = document.createElement("dd");
    dt.textContent = heading;
    dd.textContent = text;
    if (heading === "what" || heading === "where") dd.className = "code";
    list.append(dt, dd);
  }
  document.getElementById("hint").hidden = true;
  for (const wire of wires) wire.classList.toggle("near", wire.dataset.from === id || wire.dataset.to === id);
}

function pin(id) {
  for (const element of boxes.get(pinned) || []) element.classList.remove("pinned");
  pinned = pinned === id ? null : id;
  for (const element of boxes.get(pinned) || []) element.classList.add("pinned");
  if (pinned) showDetails(pinned);
}

for (const [id, elements] of boxes) {
  for (const element of elements) {
    element.addEventListener("pointerenter", () => showDetails(id));
    element.addEventListener("pointerleave", () => pinned && showDetails(pinned));
    element.addEventListener("focus", () => showDetails(id));
    element.addEventListener("click", () => moved || pin(id));
    element.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        pin(id);
      }
    });
  }
}

// -- step by step -------------------------------------------------------------------------------------------

let now = -1; // before the first moment: the whole picture

function mark(moment, name) {
  for (const id of moment.boxes) for (const element of boxes.get(id) || []) element.classList.add(name);
  for (const [from, to, cut] of moment.arrows) {
    for (const element of boxes.get(from) || []) element.classList.add("done");
    for (const wire of wires) {
      const same = wire.dataset.from === from && wire.dataset.to === to && wire.classList.contains("cut") === cut;
      if (same) wire.classList.add(name);
    }
  }
}

function go(to) {
  now = Math.max(-1, Math.min(data.moments.length - 1, to));
  for (const element of picture.querySelectorAll(".lit, .done")) element.classList.remove("lit", "done");
  picture.classList.toggle("stepping", now >= 0);
  for (let i = 0; i < now; i++) mark(data.moments[i], "done");
  slider.value = String(now + 1);
  document.getElementById("count").textContent = `${now + 1} / ${data.moments.length}`;
  document.getElementById("back").disabled = now < 0;
  document.getElementById("next").disabled = now === data.moments.length - 1;
  said.replaceChildren();
  if (now < 0) {
    said.textContent = "The whole iteration.";
    return;
  }
  const moment = data.moments[now];
  mark(moment, "lit");
  const lane = document.createElement("span");
  lane.className = "lane";
  lane.textContent = `${moment.lane}: `;
  said.append(lane, moment.text);
  slider.setAttribute("aria-valuetext", `${moment.lane}: ${moment.text}`);
  const first = (boxes.get(moment.boxes[0]) || [])[0];
  if (first) {
    showDetails(moment.boxes[0]);
    reveal(first);
  }
}

function reveal(element) {
  const box = element.getBoundingClientRect();
  const view = stage.getBoundingClientRect();
  const by = (low, high, from, to) => (low < from + 30 ? low - from - 60 : high > to - 30 ? high - to + 60 : 0);
  stage.scrollBy({
    left: by(box.left, box.right, view.left, view.right),
    top: by(box.top, box.bottom, view.top, view.bottom),
    behavior: calm.matches ? "auto" : "smooth",
  });
}

document.getElementById("back").addEventListener("click", () => go(now - 1));
document.getElementById("next").addEventListener("click", () => go(now + 1));
slider.addEventListener("input", () => go(Number(slider.value) - 1));

// -- moving and scaling -------------------------------------------------------------------------------------

const [, , width, height] = picture.getAttribute("viewBox").split(" ").map(Number);
let scale = 1;

function zoom(to, x = stage.clientWidth / 2, y = stage.clientHeight / 2) {
  const before = scale;
  scale = Math.max(0.2, Math.min(4, to));
  const left = (stage.scrollLeft + x) * (scale / before) - x;
  const top = (stage.scrollTop + y) * (scale / before) - y;
  picture.style.width = `${width * scale}px`;
  picture.style.height = `${height * scale}px`;
  stage.scrollTo(left, top);
}

function fit() {
  const wide = stage.clientWidth / width;
  zoom(Math.min(1.4, Math.max(wide, 0.75))); // letters stay readable: a wide picture is moved, not shrunk
  stage.scrollTo(0, 0);
}

document.getElementById("larger").addEventListener("click", () => zoom(scale * 1.25));
document.getElementById("smaller").addEventListener("click", () => zoom(scale / 1.25));
document.getElementById("fit").addEventListener("click", fit);
stage.addEventListener(
  "wheel",
  (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const view = stage.getBoundingClientRect();
    zoom(scale * Math.exp(-event.deltaY / 300), event.clientX - view.left, event.clientY - view.top);
  },
  { passive: false },
);

let hold = null;
let moved = false; // a drag that ends on a box does not pin it
stage.addEventListener("pointerdown", (event) => {
  moved = false;
  if (event.pointerType !== "mouse" || event.button !== 0) return;
  hold = [event.clientX, event.clientY, stage.scrollLeft, stage.scrollTop];
});
addEventListener("pointermove", (event) => {
  if (!hold) return;
  const [x, y, left, top] = hold;
  moved = moved || Math.hypot(event.clientX - x, event.clientY - y) > 4;
  stage.classList.toggle("held", moved);
  if (moved) stage.scrollTo(left - event.clientX + x, top - event.clientY + y);
});
addEventListener("pointerup", () => {
  hold = null;
  stage.classList.remove("held");
});

// -- keys and colours ---------------------------------------------------------------------------------------

const keys = {
  ArrowRight: () => go(now + 1),
  ArrowLeft: () => go(now - 1),
  Home: () => go(0),
  End: () => go(data.moments.length - 1),
  Escape: () => (pinned ? pin(pinned) : go(-1)),
  "+": () => zoom(scale * 1.25),
  "-": () => zoom(scale / 1.25),
  0: fit,
};
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target === slider || !(event.key in keys)) return;
  event.preventDefault();
  keys[event.key]();
});

const theme = document.getElementById("theme");
const dark = () => document.documentElement.dataset.theme === "dark"
  || (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);

function setTheme(name) {
  if (name) document.documentElement.dataset.theme = name;
  theme.setAttribute("aria-pressed", String(dark()));
}
theme.addEventListener("click", () => setTheme(dark() ? "light" : "dark"));

setTheme("");
fit();
go(/^#\d+$/.test(location.hash) ? Number(location.hash.slice(1)) - 1 : -1); // page.html#5 opens at the fifth step
addEventListener("resize", () => now < 0 && fit());
