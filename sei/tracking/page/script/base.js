"use strict";
// The views of a run's page, from the JSON in #data. Whatever was written by a model or a teacher becomes a text node:
// nothing here makes HTML of a string.
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const number = (value) => value.toLocaleString("en");
const percent = (value) => (100 * value).toFixed(0) + " %";
const distinct = (list) => [...new Set(list)].filter((value) => value !== undefined && value !== null && value !== "");
const plain = (name) => String(name).replaceAll("_", " ");

function put(parent, children) {
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) parent.append(child);
  }
  return parent;
}
function make(space, name, attributes, children) {
  const [tag, ...classes] = name.split(".");
  const element = space ? document.createElementNS(space, tag) : document.createElement(tag);
  if (classes.length) element.setAttribute("class", classes.join(" "));
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  return put(element, children);
}
const h = (name, attributes, ...children) => make(null, name, attributes, children);
const s = (name, attributes, ...children) => make("http://www.w3.org/2000/svg", name, attributes, children);
const link = (hash, ...children) => h("a", { href: "#" + hash }, ...children);
const chip = (text, kind) => h("span.chip" + (kind ? "." + kind : ""), {}, text);
// Arithmetic annotations such as <<3*4=12>> are part of the text, but not what a reader looks at first.
const annotated = (text) =>
  String(text || "")
    .split(/(<<[^<>\n]*>>)/)
    .map((part, index) => (index % 2 ? h("span.annotation", {}, part) : part));
const block = (text) => h("div.text.block", {}, annotated(text));
const side = (title, ...children) => h("div.side", {}, h("h3", {}, title), ...children);

// What leads where

const records = data.records || {};
const byId = new Map(); // any id -> [kind, record]
const madeFrom = new Map(); // id -> [kind, record] of what was made of it
function index() {
  for (const kind of ["rows", "problems", "mistakes", "items"]) {
    for (const record of records[kind]) {
      byId.set(record.id, [kind, record]);
      for (const parent of record.parents || []) {
        if (!madeFrom.has(parent)) madeFrom.set(parent, []);
        madeFrom.get(parent).push([kind, record]);
      }
      for (const answer of [record.before, record.after]) if (answer) byId.set(answer.id, [kind, record]);
    }
  }
  // One problem in two test sets has two items: each also goes by set and id.
  for (const item of records.items) byId.set(item.set + "/" + item.id, ["items", item]);
  for (const type of data.types) byId.set(type.id, ["types", type]);
}
const itemKey = (item) => (byId.get(item.id)[1] === item ? item.id : item.set + "/" + item.id);
const keyOf = (kind, record) =>
  kind === "types" ? "type/" + record.number : "item/" + encodeURIComponent(kind === "items" ? itemKey(record) : record.id);
const typeOf = (n) => data.types[n - 1];
const typeChip = (n) => (n ? h("a.chip", { href: "#type/" + n, title: "error type " + n }, n + " · " + typeOf(n).name) : null);
const made = (record, kind) => (madeFrom.get(record.id) || []).filter((entry) => entry[0] === kind).map((entry) => entry[1]);
const TONE = { fixed: "good", broken: "bad", correct: "good", wrong: "bad" };
const sizes = (type) => type.rounds.map((round) => round.size);
const mined = (type) => ROUNDS.map((round) => (type.rounds.find((one) => one.round === round) || { size: 0 }).size);
const ROUNDS = [...new Set((data.types || []).flatMap((type) => type.rounds.map((round) => round.round)))].sort((a, b) => a - b);
const SETS = data.headline ? data.headline.sets.map((set) => set.name) : [];
const STAGES = distinct((records.mistakes || []).map((mistake) => mistake.stage)).length;
const TRAINED = (records.items || []).some((item) => item.after);
