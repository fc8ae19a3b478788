"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const items = [...document.querySelectorAll("article")];
const key = "sei-review-" + data.run;
let marks = {};
let current = 0;

try { // local files may have no storage: the page then works, but forgets the marks when it is closed
  marks = JSON.parse(localStorage.getItem(key)) || {};
} catch (error) {
  marks = {};
}

function point(index) {
  current = index;
  items.forEach((item, other) => item.classList.toggle("current", other === current));
}

function show() {
  items.forEach((item, index) => {
    const mark = marks[data.ids[index]];
    item.classList.toggle("marked", Boolean(mark));
    item.querySelectorAll("input").forEach((input) => { input.checked = input.value === mark; });
  });
  const done = data.ids.filter((id) => marks[id]).length;
  document.getElementById("progress").textContent = done + " of " + data.ids.length + " marked";
}

function set(index, mark) {
  marks[data.ids[index]] = mark;
  try {
    localStorage.setItem(key, JSON.stringify(marks));
  } catch (error) {
    document.title = "Not stored: save your marks";
  }
  show();
}

items.forEach((item, index) => {
  item.addEventListener("click", () => point(index));
  item.addEventListener("change", (event) => set(index, event.target.value));
});

document.addEventListener("keydown", (event) => {
  const mark = data.marks[Number(event.key) - 1];
  if (!mark || event.ctrlKey || event.altKey || event.metaKey) return;
  event.preventDefault();
  set(current, mark);
  point(Math.min(current + 1, items.length - 1));
  items[current].scrollIntoView({ block: "start" });
});

document.getElementById("save").addEventListener("click", () => {
  const text = JSON.stringify({ run: data.run, ids: data.ids, marks: marks }, null, 2);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = "marks.json";
  link.click();
  URL.revokeObjectURL(link.href);
});

point(0);
show();
