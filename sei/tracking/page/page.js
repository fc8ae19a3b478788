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

// ---- What leads where

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

// ---- The kinds of records: what a list shows, filters and searches

const typeOptions = () => data.types.map((type) => [String(type.number), type.number + " · " + type.name]);
const KINDS = {
  types: {
    title: (type) => [h("span.rank", {}, type.number), type.name],
    meta: (type) => [
      mined(type).join(" → ") + " mistakes",
      "cohesion " + type.rounds[0].cohesion.toFixed(2),
      type.fits === null ? "" : "name fits " + percent(type.fits),
      type.status || "",
    ],
    text: (type) => [type.name, ...type.rounds.flatMap((round) => round.phrases.map((phrase) => phrase[0]))],
    filters: { status: [(type) => type.status, () => distinct(data.types.map((type) => type.status))] },
    show: showType,
  },
  items: {
    title: (item) => item.question || item.id,
    meta: (item) => [
      item.change,
      plain(item.set),
      item.before.type || (item.after || {}).type ? "type " + (item.before.type || item.after.type) : "",
      plain(item.family),
    ],
    text: (item) => [item.id, item.question, item.gold, item.before.output, item.after ? item.after.output : ""],
    filters: {
      set: [(item) => item.set, () => SETS],
      change: [
        (item) => item.change,
        () =>
          ["fixed", "broken", "still wrong", "still right", "not trained"].filter((change) =>
            records.items.some((item) => item.change === change),
          ),
      ],
      type: [(item) => [item.before.type, (item.after || {}).type], typeOptions],
    },
    show: showItem,
  },
  mistakes: {
    title: (mistake) => mistake.question,
    meta: (mistake) => [
      mistake.types.length ? "type " + mistake.types.join(", ") : "",
      mistake.diagnosis ? mistake.diagnosis.keyphrases[0] : "",
      mistake.correction ? "corrected" : "",
    ],
    text: (mistake) => [
      mistake.id,
      mistake.question,
      ...mistake.steps,
      ...(mistake.diagnosis ? mistake.diagnosis.keyphrases : []),
    ],
    filters: {
      type: [(mistake) => mistake.types, typeOptions],
      stage: [(mistake) => mistake.stage, () => distinct(records.mistakes.map((mistake) => mistake.stage))],
      model: [(mistake) => mistake.model, () => distinct(records.mistakes.map((mistake) => mistake.model))],
    },
    show: showMistake,
  },
  problems: {
    title: (problem) => problem.question,
    meta: (problem) => [
      problem.type ? "type " + problem.type : "",
      problem.score === undefined ? "" : "score " + problem.score.toFixed(2),
      problem.chosen ? "chosen" : "left out",
    ],
    text: (problem) => [problem.id, problem.question, problem.solution],
    filters: {
      type: [(problem) => problem.type, typeOptions],
      round: [(problem) => problem.round, () => distinct(records.problems.map((problem) => problem.round))],
      selection: [
        (problem) => (problem.chosen ? "chosen" : "left out"),
        () => distinct(records.problems.map((problem) => (problem.chosen ? "chosen" : "left out"))),
      ],
    },
    show: showProblem,
  },
  rows: {
    title: (row) => row.prompt,
    meta: (row) => [row.kind, row.stages.join(", "), row.rejected ? "pair" : ""],
    text: (row) => [row.id, row.prompt, row.response || "", row.chosen || "", row.rejected || ""],
    filters: {
      kind: [(row) => row.kind, () => distinct(records.rows.map((row) => row.kind))],
      stage: [(row) => row.stages, () => distinct(records.rows.flatMap((row) => row.stages))],
      type: [
        (row) => row.parents.map((id) => ((byId.get(id) || [])[0] === "problems" ? byId.get(id)[1].type : null)),
        typeOptions,
      ],
    },
    show: showRow,
  },
};

// ---- A list of one kind beside one of its records. Only the rows in sight are on the page.

const HEIGHT = 58;
const PAD = 8; // rows kept above and below those in sight
const lists = {};

class List {
  constructor(kind, place) {
    this.kind = kind;
    this.what = KINDS[kind];
    this.all = kind === "types" ? data.types : records[kind];
    this.found = this.all;
    this.current = -1;
    this.needles = null; // lower-case texts, made at the first search
    this.search = h("input", {
      type: "search",
      placeholder: "Filter by text",
      "aria-label": "Filter by text",
      oninput: () => this.filter(),
    });
    this.selects = {};
    for (const [name, [, options]] of Object.entries(this.what.filters)) {
      const choices = options();
      if (choices.length < 2) continue;
      const entries = choices.map((choice) => (Array.isArray(choice) ? choice : [String(choice), plain(choice)]));
      this.selects[name] = h(
        "select",
        { "aria-label": name, onchange: () => this.filter() },
        h("option", { value: "" }, "any " + name),
        entries.map(([value, label]) => h("option", { value }, label.slice(0, 90))),
      );
    }
    this.count = h("span", { role: "status" });
    this.rows = h("div.rows");
    this.list = h(
      "div.list",
      {
        role: "listbox",
        tabindex: "0",
        "aria-label": plain(kind) + ", arrow keys move, Enter opens",
        onscroll: () => this.draw(),
        onkeydown: (event) => this.key(event),
      },
      this.rows,
    );
    this.detail = h("div.detail", { tabindex: "-1" });
    const hidden = data.counts[kind] - this.all.length;
    const more =
      hidden > 0
        ? h(
            "p.soft",
            {},
            "The first " + number(this.all.length) + " of " + number(data.counts[kind]) + "; all are in the run folder.",
          )
        : null;
    this.frame = h(
      "div.browser",
      {},
      h(
        "div.master",
        {},
        h(
          "div.filters",
          {},
          this.search,
          Object.values(this.selects),
          h(
            "div.found",
            {},
            this.count,
            h("span", {}, h("kbd", {}, "/"), " filter ", h("kbd", {}, "↑"), h("kbd", {}, "↓"), " read"),
          ),
          more,
        ),
        this.list,
      ),
      this.detail,
    );
    place.append(this.frame);
    new ResizeObserver(() => this.draw()).observe(this.list);
    this.filter();
  }

  set(query) {
    if (!query) return;
    const wanted = new URLSearchParams(query);
    this.search.value = wanted.get("text") || "";
    for (const [name, select] of Object.entries(this.selects)) select.value = wanted.get(name) || "";
    this.filter();
  }

  filter() {
    const text = this.search.value.trim().toLowerCase();
    if (text && !this.needles) this.needles = this.all.map((record) => this.what.text(record).join("\n").toLowerCase());
    const tests = Object.entries(this.selects)
      .filter(([, select]) => select.value)
      .map(([name, select]) => [this.what.filters[name][0], select.value]);
    this.found = this.all.filter(
      (record, place) =>
        (!text || this.needles[place].includes(text)) &&
        tests.every(([read, wanted]) => {
          const value = read(record);
          return Array.isArray(value) ? value.some((one) => String(one) === wanted) : String(value) === wanted;
        }),
    );
    this.current = this.found.indexOf(this.open);
    this.count.textContent =
      this.found.length === this.all.length
        ? number(this.all.length) + " records"
        : number(this.found.length) + " of " + number(this.all.length);
    this.list.scrollTop = Math.max(0, this.current * HEIGHT - 3 * HEIGHT);
    this.draw();
  }

  draw() {
    const first = Math.max(0, Math.floor(this.list.scrollTop / HEIGHT) - PAD);
    const last = Math.min(this.found.length, Math.ceil((this.list.scrollTop + this.list.clientHeight) / HEIGHT) + PAD);
    this.rows.style.height = this.found.length * HEIGHT + "px";
    this.rows.replaceChildren(...this.found.slice(first, last).map((record, offset) => this.row(record, first + offset)));
    if (!this.found.length) this.rows.replaceChildren(h("p.soft.empty", {}, "Nothing matches."));
    const active = this.current >= first && this.current < last ? this.rowId(this.current) : null;
    if (active) this.list.setAttribute("aria-activedescendant", active);
    else this.list.removeAttribute("aria-activedescendant");
  }

  rowId(place) {
    return "row-" + this.kind + "-" + place;
  }

  row(record, place) {
    const meta = this.what.meta(record).filter(Boolean);
    const row = h(
      "div.row",
      {
        id: this.rowId(place),
        role: "option",
        "aria-selected": String(place === this.current),
        "aria-setsize": this.found.length,
        "aria-posinset": place + 1,
        onclick: () => this.go(place),
      },
      h("div", {}, this.what.title(record)),
      h(
        "div.meta",
        {},
        meta.map((word, at) => [at ? " · " : "", TONE[word] ? h("span." + TONE[word], {}, word) : word]),
      ),
    );
    row.style.top = place * HEIGHT + "px";
    return row;
  }

  key(event) {
    const page = Math.max(1, Math.floor(this.list.clientHeight / HEIGHT) - 1);
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.key === "Enter" && this.current >= 0) {
      this.frame.classList.add("open");
      this.detail.focus();
      return;
    }
    if (!(event.key in moves) || !this.found.length) return;
    event.preventDefault();
    const place = Math.min(this.found.length - 1, Math.max(0, this.current + moves[event.key]));
    this.go(place, !narrow.matches);
  }

  // Open the record at a place; `open` false only marks it, where the record would hide the list.
  go(place, open = true) {
    this.current = place;
    this.reveal();
    if (!open) {
      this.open = this.found[place];
      this.show(this.open);
      return;
    }
    const hash = "#" + keyOf(this.kind, this.found[place]);
    if (location.hash !== hash) location.hash = hash;
    else this.frame.classList.add("open");
  }

  reveal() {
    const top = this.current * HEIGHT;
    if (top < this.list.scrollTop) this.list.scrollTop = top;
    if (top + HEIGHT > this.list.scrollTop + this.list.clientHeight) this.list.scrollTop = top + HEIGHT - this.list.clientHeight;
    this.draw();
  }

  show(record) {
    this.open = record;
    if (record && !this.found.includes(record)) {
      this.search.value = "";
      for (const select of Object.values(this.selects)) select.value = "";
      this.filter();
    }
    this.current = this.found.indexOf(record);
    if (this.current >= 0) this.reveal();
    const back = h(
      "button.back",
      {
        type: "button",
        onclick: () => {
          location.hash = "#" + this.kind;
          this.list.focus();
        },
      },
      "← All " + plain(this.kind === "rows" ? "training rows" : this.kind),
    );
    this.detail.replaceChildren(
      back,
      record ? h("div.inner", {}, this.what.show(record)) : h("p.empty", {}, "Choose a record to read it."),
    );
    this.detail.scrollTop = 0;
  }
}

// ---- One record

function recordLinks(kind, list, shown = 8) {
  return h(
    "ul.records",
    {},
    list
      .slice(0, shown)
      .map((record) =>
        h(
          "li",
          {},
          link(keyOf(kind, record), String(KINDS[kind].title(record)).slice(0, 220)),
          h("div.meta", {}, KINDS[kind].meta(record).filter(Boolean).join(" · ")),
        ),
      ),
  );
}
function group(title, kind, list, query, open = false) {
  if (!list.length) return null;
  const all =
    query && list.length > 8 ? h("p", {}, link(kind + "?" + query, "All " + number(list.length) + " in the list")) : null;
  return h("details.group", { open }, h("summary", {}, title + " (" + number(list.length) + ")"), recordLinks(kind, list), all);
}
const facts = (...chips) => h("div.facts", {}, chips);
const question = (text) => h("p.text.question", {}, text);

function output(title, answer) {
  return h(
    "div.side",
    {},
    h("h3", {}, title, chip(plain(answer.verdict), TONE[answer.verdict])),
    block(answer.output),
    answer.diagnosis ? h("p.text", {}, answer.diagnosis) : null,
    answer.type ? h("p", {}, typeChip(answer.type)) : null,
  );
}
function showItem(item) {
  const numbers = distinct([item.before.type, (item.after || {}).type]);
  return [
    facts(
      chip(item.change, TONE[item.change]),
      chip(plain(item.set)),
      item.family ? chip(plain(item.family)) : null,
      item.level ? chip("level " + item.level) : null,
      chip(item.id),
    ),
    question(item.question || "(the question is not in this run folder)"),
    h("div.sides", {}, output("Before training", item.before), item.after ? output("After training", item.after) : null),
    h("div.sides", {}, side("Gold answer: " + item.gold, item.solution ? block(item.solution) : null)),
    numbers.map((n) =>
      group(
        "New problems of type " + n + ", trained on",
        "problems",
        records.problems.filter((problem) => problem.type === n && problem.chosen),
        "type=" + n + "&selection=chosen",
      ),
    ),
    numbers.map((n) =>
      group(
        "Mistakes of type " + n + " on training problems",
        "mistakes",
        records.mistakes.filter((mistake) => mistake.types.includes(n)),
        "type=" + n,
      ),
    ),
  ];
}
function steps(list, wrong, first = 1, name = "") {
  return h(
    "ol.steps",
    { start: first },
    list.map((step, place) =>
      h(
        "li.text" + (place === wrong ? ".wrong" : name ? "." + name : ""),
        {},
        place === wrong ? h("b.flag", {}, "first wrong step") : null,
        annotated(step),
      ),
    ),
  );
}
function showMistake(mistake) {
  const { diagnosis, correction, traces } = mistake;
  return [
    facts(
      mistake.types.map(typeChip),
      STAGES > 1 ? chip(plain(mistake.stage)) : null,
      chip(mistake.model),
      mistake.family ? chip(plain(mistake.family)) : null,
      mistake.level ? chip("level " + mistake.level) : null,
      chip(mistake.id),
    ),
    question(mistake.question),
    h(
      "div.sides",
      {},
      side(
        "The target's solution",
        steps(mistake.steps, mistake.wrong),
        h("p.last.text", {}, "Answer: " + (mistake.answer || "none")),
      ),
      side("Gold solution", block(mistake.solution), h("p.last.text", {}, "Answer: " + mistake.gold)),
    ),
    h(
      "div.sides",
      {},
      diagnosis
        ? side(
            "Diagnosis",
            h("p.text", {}, diagnosis.explanation),
            h(
              "div.facts",
              {},
              diagnosis.keyphrases.map((text) => chip(text)),
            ),
          )
        : null,
      correction
        ? side(
            "Correction, from step " + correction.step,
            h("p.text", {}, correction.explanation),
            steps(correction.steps, -1, correction.step, "new"),
            h("p.last.text", {}, "Answer: " + correction.answer),
          )
        : null,
    ),
    (traces || []).map((trace) =>
      h(
        "div.sides",
        {},
        side("Cause, says the " + trace.author + (trace.step ? " (step " + trace.step + ")" : ""), h("p.text", {}, trace.cause)),
        side("Correction", h("p.text", {}, trace.correction)),
      ),
    ),
    group("New problems made from it", "problems", made(mistake, "problems"), null, true),
    group("Training rows made from it", "rows", made(mistake, "rows"), null),
  ];
}
function parents(record) {
  const known = (record.parents || []).map((id) => byId.get(id)).filter(Boolean);
  return ["problems", "mistakes"].map((kind) =>
    group(
      "Made from these " + (kind === "problems" ? "problems" : "mistakes"),
      kind,
      known.filter((entry) => entry[0] === kind).map((entry) => entry[1]),
      null,
      true,
    ),
  );
}
function showProblem(problem) {
  return [
    facts(
      typeChip(problem.type),
      chip("round " + problem.round),
      problem.score === undefined ? null : chip("one-shot score " + problem.score.toFixed(2)),
      chip(problem.chosen ? "chosen" : "left out", problem.chosen ? "good" : ""),
      chip(problem.id),
    ),
    question(problem.question),
    h("div.sides", {}, side("Solution", block(problem.solution), h("p.last.text", {}, "Answer: " + problem.answer))),
    parents(problem),
    group("Training rows made from it", "rows", made(problem, "rows"), null, true),
  ];
}
function showRow(row) {
  const answers = row.rejected
    ? [side("Chosen", block(row.chosen)), side("Rejected", block(row.rejected))]
    : [side("Response, trained on", block(row.response))];
  const unknown = row.parents.filter((id) => !byId.has(id));
  return [
    facts(
      chip(row.kind),
      row.stages.map((stage) => chip(stage)),
      chip(row.id),
    ),
    h("div.sides", {}, side("Prompt", block(row.prompt))),
    row.prefix ? h("div.sides", {}, side("Beginning of the response, given", block(row.prefix))) : null,
    h("div.sides", {}, answers),
    parents(row),
    unknown.length ? h("p.soft", {}, "Made from " + unknown.join(", ")) : null,
  ];
}

// ---- One error type

function table(head, body, { numeric = true, stacked = "" } = {}) {
  const cell = (inside, place) =>
    place ? h(numeric ? "td.number" : "td", { "data-label": head[place] || null }, inside) : h("th", { scope: "row" }, inside);
  return h(
    "div.scroll",
    {},
    h(
      "table" + stacked,
      {},
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          head.map((name, place) => h(place && numeric ? "th.number" : "th", {}, name)),
        ),
      ),
      h(
        "tbody",
        {},
        body.map((cells) => h("tr", {}, cells.map(cell))),
      ),
    ),
  );
}
function turned(type) {
  const found = { fixed: [], broken: [], "still wrong": [] };
  for (const item of records.items) {
    const was = item.before.type === type.number;
    const is = item.after && item.after.type === type.number;
    if (was && item.change === "fixed") found.fixed.push(item);
    else if (is && item.change === "broken") found.broken.push(item);
    else if (was || is) found["still wrong"].push(item);
  }
  return found;
}
const testCount = (type, set, when) =>
  records.items.filter((item) => item.set === set && item[when] && item[when].type === type.number).length;

function showType(type) {
  const latest = type.rounds[type.rounds.length - 1];
  const turns = turned(type);
  const problems = records.problems.filter((problem) => problem.type === type.number);
  const rows = problems.flatMap((problem) => made(problem, "rows"));
  const query = "type=" + type.number;
  const round = (one) => [
    h("span", {}, "round " + one.round),
    number(one.size),
    one.cohesion.toFixed(2),
    number(one.phrases.length),
  ];
  const sets = SETS.map((set) => [
    plain(set),
    number(testCount(type, set, "before")),
    TRAINED ? number(testCount(type, set, "after")) : "–",
  ]);
  return [
    h("h2", {}, h("span.rank", {}, type.number), type.name),
    facts(
      type.fits === null ? chip("named by the teacher") : chip("the name fits " + percent(type.fits) + " of its mistakes"),
      type.status ? chip(type.status, type.status === "fixed" ? "good" : "") : null,
      chip(type.id),
    ),
    type.description.startsWith("Mistakes described as") ? null : h("p.text", {}, type.description),
    h(
      "div.sides",
      {},
      side("On training problems", table(["", "mistakes", "cohesion", "keyphrases"], type.rounds.map(round))),
      SETS.length ? side("On test problems", table(["", "before", "after"], sets)) : null,
    ),
    h("h3", {}, "What its mistakes are called" + (type.rounds.length > 1 ? ", round " + latest.round : "")),
    phraseList(latest.phrases),
    group("Test items that became right", "items", turns.fixed, query + "&change=fixed", true),
    group("Test items that became wrong", "items", turns.broken, query + "&change=broken", true),
    group("Test items still wrong", "items", turns["still wrong"], query),
    group(
      "Mistakes on training problems",
      "mistakes",
      records.mistakes.filter((mistake) => mistake.types.includes(type.number)),
      query,
      true,
    ),
    group("New problems", "problems", problems, query),
    group("Training rows from them", "rows", rows, query),
  ];
}
function phraseList(phrases) {
  const line = (phrase) => h("li", {}, h("b", {}, phrase[1] ? number(phrase[1]) : ""), h("span.text", {}, phrase[0]));
  const more = phrases.slice(10);
  return [
    h("ul.phrases", {}, phrases.slice(0, 10).map(line)),
    more.length ? h("details", {}, h("summary", {}, number(more.length) + " more"), h("ul.phrases", {}, more.map(line))) : null,
  ];
}

// ---- Overview: error types, their map, loss

function overview() {
  const place = $("overview-more");
  if (data.types.length) put(place, [typeCard(), mapCard()]);
  if (data.curves.length) put(place, [lossCard()]);
}
function typeCard() {
  const largest = Math.max(...data.types.flatMap(sizes));
  const head = [
    "error type",
    ROUNDS.length > 1 ? "mistakes by round" : "mistakes",
    ...SETS.map(plain),
    ...(ROUNDS.length > 1 ? ["status"] : []),
  ];
  const bar = (type) =>
    s(
      "svg.bar",
      { width: 60, height: 10, "aria-hidden": "true" },
      s("rect.bar", { width: Math.max(1, (60 * mined(type)[0]) / largest), height: 10, rx: 2 }),
    );
  const row = (type) => {
    const tests = SETS.map((set) => {
      const [was, is] = ["before", "after"].map((when) => testCount(type, set, when));
      return TRAINED ? h("span" + (is < was ? ".good" : is > was ? ".bad" : ""), {}, was + " → " + is) : number(was);
    });
    return [
      [h("span.rank", {}, type.number), link("type/" + type.number, type.name)],
      [mined(type).join(" → ") + " ", bar(type)],
      ...tests,
      ...(ROUNDS.length > 1 ? [type.status || ""] : []),
    ];
  };
  const shown = data.types.slice(0, 12);
  return h(
    "div.card.wide",
    {},
    h("h2", {}, "Error types: mistakes on training problems" + (SETS.length ? ", and on test problems before → after" : "")),
    table(head, shown.map(row), { stacked: ".stack.two" }),
    data.types.length > shown.length ? h("p", {}, link("types", "All " + number(data.types.length) + " error types")) : null,
  );
}

const hue = (n) => "hsl(" + (Math.round((n - 1) * 137.5 + 215) % 360) + " 60% 52%)";
function mapCard() {
  if (!data.types.some((type) => type.rounds.some((round) => round.phrases.some((phrase) => phrase[2] !== null)))) return null;
  const place = h("div");
  let round = ROUNDS[0],
    width = 0;
  const draw = () => place.replaceChildren(drawMap(round, width));
  new ResizeObserver(() => {
    if (place.clientWidth !== width) {
      width = place.clientWidth;
      draw();
    }
  }).observe(place);
  const choose = h(
    "select",
    {
      "aria-label": "Round",
      onchange: (event) => {
        round = Number(event.target.value);
        draw();
      },
    },
    ROUNDS.map((one) => h("option", { value: one }, "round " + one)),
  );
  return h(
    "div.card",
    {},
    h("h2", {}, "Map of the keyphrases"),
    ROUNDS.length > 1 ? choose : null,
    place,
    h(
      "p.soft",
      {},
      "A dot is a keyphrase, its size the mistakes that have it; near dots are alike (first two principal components of the embeddings). A ring is an error type, in the middle of its dots: the thicker, the more alike they are (cohesion).",
    ),
  );
}
// Where the name of a ring may stand without covering another name or ring: beside it, above, below; else its number alone.
function placeLabel(full, short, cx, cy, width, height, taken) {
  const free = (box) =>
    box[0] > 1 &&
    box[1] > 1 &&
    box[2] < width - 1 &&
    box[3] < height - 1 &&
    taken.every((other) => box[0] > other[2] || box[2] < other[0] || box[1] > other[3] || box[3] < other[1]);
  for (const text of [full, short]) {
    for (const dy of [4, 19, -12, 34, -27]) {
      for (const left of [cx + 12, cx - 12 - 6.9 * text.length]) {
        const box = [left, cy + dy - 11, left + 6.9 * text.length, cy + dy + 3];
        if (!free(box)) continue;
        taken.push(box);
        return s("text", { x: left < cx ? cx - 12 : cx + 12, y: cy + dy, "text-anchor": left < cx ? "end" : "start" }, text);
      }
    }
  }
  return null;
}
function drawMap(round, width) {
  const height = Math.max(260, Math.round(width * 0.62)),
    margin = 26;
  const types = data.types
    .map((type) => [type, type.rounds.find((one) => one.round === round)])
    .filter((entry) => entry[1] && entry[1].phrases.some((phrase) => phrase[2] !== null));
  const points = types.flatMap((entry) => entry[1].phrases);
  const scale = (axis, length) => {
    const low = points.reduce((least, phrase) => Math.min(least, phrase[axis]), Infinity);
    const high = points.reduce((most, phrase) => Math.max(most, phrase[axis]), -Infinity);
    return (value) => margin + (length - 2 * margin) * (high > low ? (value - low) / (high - low) : 0.5);
  };
  const x = scale(2, width),
    y = scale(3, height);
  const area = (count) => Math.min(24, 2.5 + 1.4 * Math.sqrt(Math.max(1, count)));
  const dots = types.map(([type, own]) =>
    s(
      "g",
      { fill: hue(type.number) },
      own.phrases.map((phrase) =>
        s(
          "circle.phrase",
          { cx: x(phrase[2]), cy: y(phrase[3]), r: area(phrase[1]) },
          s("title", {}, phrase[0] + " (" + phrase[1] + ")"),
        ),
      ),
    ),
  );
  const rings = types.map(([type, own]) => {
    const total = own.phrases.reduce((sum, phrase) => sum + Math.max(1, phrase[1]), 0);
    const middle = (axis) => own.phrases.reduce((sum, phrase) => sum + phrase[axis] * Math.max(1, phrase[1]), 0) / total;
    return { type, own, cx: x(middle(2)), cy: y(middle(3)) };
  });
  const taken = rings.map(({ cx, cy }) => [cx - 8, cy - 8, cx + 8, cy + 8]);
  const named = rings.map(({ type, own, cx, cy }) => {
    const most = width < 500 ? 0 : 34;
    const name = !most ? "" : type.name.length > most ? " " + type.name.slice(0, most - 1) + "…" : " " + type.name;
    const said = type.name + ": " + number(own.size) + " mistakes, cohesion " + own.cohesion.toFixed(2);
    return s(
      "a",
      { href: "#type/" + type.number, "aria-label": "Error type " + type.number + ", " + said },
      s(
        "circle",
        { cx, cy, r: 7, fill: "none", stroke: hue(type.number), "stroke-width": (1 + 3 * Math.max(0, own.cohesion)).toFixed(1) },
        s("title", {}, said),
      ),
      placeLabel(type.number + name, String(type.number), cx, cy, width, height, taken),
    );
  });
  return s(
    "svg.map",
    { viewBox: "0 0 " + width + " " + height, width, height, role: "group", "aria-label": "Map of the keyphrases" },
    dots,
    named,
  );
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
function lossCard() {
  const charts = h("div.charts");
  const all = data.curves.flatMap((curve) => curve.loss).filter((value) => value !== null);
  const top = Math.max(...all),
    low = Math.min(0, ...all);
  const draw = () => charts.replaceChildren(...data.curves.map((curve) => lossChart(curve, low, top, charts.clientWidth)));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  let width = 0;
  new ResizeObserver(() => {
    if (charts.clientWidth !== width) {
      width = charts.clientWidth;
      draw();
    }
  }).observe(charts);
  return h("div.card", {}, h("h2", {}, "Loss"), charts);
}
function lossChart(curve, low, top, room) {
  const figure = h("figure");
  const columns = Math.max(1, Math.min(data.curves.length, Math.floor((room + 16) / 316)));
  const axis = (label) => ({
    stroke: colour("--soft"),
    grid: { stroke: colour("--line"), width: 1 },
    ticks: { stroke: colour("--line"), width: 1 },
    font: "12px system-ui",
    label,
    labelFont: "12px system-ui",
    labelSize: 18,
    size: 44,
  });
  new uPlot(
    {
      width: Math.max(220, Math.floor((room - 16 * (columns - 1)) / columns)),
      height: 220,
      legend: { show: false },
      cursor: { y: false },
      scales: { x: { time: false }, y: { range: [low, top * 1.05] } },
      axes: [
        {
          ...axis("step"),
          incrs: [1, 2, 5].flatMap((digit) => [0, 1, 2, 3, 4, 5].map((power) => digit * 10 ** power)).sort((a, b) => a - b),
        },
        axis(""),
      ],
      series: [{}, { label: "loss", stroke: colour("--accent"), width: 1.5, spanGaps: false }],
    },
    [curve.loss.map((_, place) => (place + 1) * curve.every), curve.loss],
    figure,
  );
  const ends = [curve.loss[0], curve.loss[curve.loss.length - 1]].map((value) =>
    value === null ? "not a number" : value.toFixed(3),
  );
  figure.append(
    h(
      "figcaption",
      {},
      plain(curve.name) +
        ": " +
        ends[0] +
        " → " +
        ends[1] +
        " over " +
        number(curve.loss.length * curve.every) +
        " steps" +
        (curve.every > 1 ? " (means of " + curve.every + ")" : ""),
    ),
  );
  return figure;
}

// ---- Flow and configuration

function flow() {
  const most = Math.max(1, ...data.flow.map((stage) => Math.max(stage.received, stage.passed)));
  const bar = (stage) =>
    s(
      "svg",
      { width: 130, height: 14, "aria-hidden": "true" },
      s("rect.bar.in", { width: Math.max(1, (130 * stage.received) / most), height: 14, rx: 2 }),
      s("rect.bar.out", { width: Math.max(stage.passed ? 1 : 0, (130 * stage.passed) / most), height: 14, rx: 2 }),
    );
  const reason = (stage, [name, count]) => {
    const samples = stage.samples.filter((sample) => sample.reason === name);
    const text = number(count) + " " + plain(name);
    if (!samples.length) return h("div", {}, text);
    return h(
      "details",
      {},
      h("summary", {}, text),
      samples.map((sample) =>
        h(
          "div",
          {},
          sample.detail ? h("p.text", {}, sample.detail) : null,
          sample.raw ? block(sample.raw) : null,
          h(
            "p.soft",
            {},
            byId.has(sample.source) ? link("item/" + encodeURIComponent(sample.source), sample.source) : sample.source,
          ),
        ),
      ),
    );
  };
  const row = (stage) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, stage.name),
      h("td.flowbar", {}, bar(stage)),
      h("td.number", {}, number(stage.received)),
      h(
        "td.number",
        {},
        number(stage.passed),
        stage.records === stage.passed ? null : h("small", {}, number(stage.records) + " records"),
      ),
      h(
        "td.reasons",
        {},
        Object.entries(stage.rejected).map((entry) => reason(stage, entry)),
      ),
      h("td.number", {}, stage.seconds.toFixed(1) + " s", stage.cached ? h("small", {}, "cached") : null),
    );
  $("view-flow").append(
    h(
      "div.card",
      {},
      h("h2", {}, "Every stage accounts for every record"),
      data.flow.length
        ? h(
            "div.scroll",
            {},
            h(
              "table.flow",
              {},
              h(
                "thead",
                {},
                h(
                  "tr",
                  {},
                  ["stage", ""].map((cell) => h("th", {}, cell)),
                  ["in", "out"].map((cell) => h("th.number", {}, cell)),
                  h("th.reasons", {}, "not passed on"),
                  h("th.number", {}, "time"),
                ),
              ),
              h("tbody", {}, data.flow.map(row)),
            ),
          )
        : h("p.soft", {}, "No stage was finished."),
    ),
  );
}
function configuration() {
  const { command, commit, options, keys, versions, precision, composed } = data.configuration;
  const copy = h(
    "button",
    {
      type: "button",
      onclick: async () => {
        try {
          await navigator.clipboard.writeText(command);
          copy.textContent = "Copied";
        } catch (error) {
          copy.textContent = "Select it and copy";
        }
      },
    },
    "Copy",
  );
  const tone = (option) => (option.same ? option.value : h("strong", {}, option.value));
  put($("view-configuration"), [
    data.traceback ? h("div.card", {}, h("h2", {}, "Why it failed"), h("pre.text", {}, data.traceback)) : null,
    h(
      "div.card",
      {},
      h("h2", {}, "Command"),
      h("pre.text", {}, command),
      copy,
      commit ? h("p", {}, "Commit ", h("code", {}, commit)) : null,
    ),
    options.length
      ? h(
          "div.card",
          {},
          h("h2", {}, "Options"),
          h(
            "ul.options",
            {},
            options.map((option) =>
              h(
                "li",
                {},
                h("span.soft", {}, option.group),
                " ",
                tone(option),
                option.same ? null : h("small", {}, " (default " + option.default + ")"),
              ),
            ),
          ),
        )
      : null,
    h(
      "div.card",
      {},
      h("h2", {}, "Keys that differ from the defaults of these options"),
      keys === null
        ? h("pre.text", {}, data.configuration.overrides.join("\n") || "none")
        : keys.length
          ? table(
              ["key", "here", "default"],
              keys.map((one) => [h("code", {}, one.key), h("span.text", {}, one.value), h("span.text.soft", {}, one.default)]),
              { numeric: false },
            )
          : h("p.soft", {}, "None."),
    ),
    Object.keys(precision).length
      ? h(
          "div.card",
          {},
          h("h2", {}, "Precision"),
          table(
            ["task", "value", "why"],
            Object.entries(precision).map(([task, choice]) => [plain(task), choice.value, choice.why || ""]),
            { numeric: false },
          ),
        )
      : null,
    Object.keys(versions).length
      ? h("div.card", {}, h("h2", {}, "Versions"), table(["package", "version"], Object.entries(versions), { numeric: false }))
      : null,
    h(
      "div.card",
      {},
      h("details", {}, h("summary", {}, "The whole configuration"), h("pre.text", {}, JSON.stringify(composed, null, 2))),
    ),
  ]);
}

// ---- Where the address leads: #overview, #types, #type/3, #items?change=fixed, #item/ID

const narrow = matchMedia("(max-width: 860px)");
const drawn = new Set();
function view(name) {
  const place = $("view-" + name);
  for (const other of document.querySelectorAll(".view")) other.hidden = other !== place;
  for (const anchor of document.querySelectorAll("nav a")) {
    if (anchor.getAttribute("href") === "#" + name) {
      anchor.setAttribute("aria-current", "page");
      anchor.scrollIntoView({ block: "nearest", inline: "nearest" });
    } else anchor.removeAttribute("aria-current");
  }
  if (!drawn.has(name)) {
    drawn.add(name);
    if (name === "overview") overview();
    else if (name === "flow") flow();
    else if (name === "configuration") configuration();
    else lists[name] = new List(name, place);
  }
}
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    return "";
  } // a lone percent sign
}
function route() {
  const [path, query] = location.hash.slice(1).split("?");
  const [first, ...rest] = path.split("/");
  const id = decoded(rest.join("/"));
  const found =
    first === "item"
      ? byId.get(id)
      : first === "type" && data.types[Number(id) - 1]
        ? ["types", data.types[Number(id) - 1]]
        : null;
  if (found) {
    view(found[0]);
    lists[found[0]].frame.classList.add("open");
    lists[found[0]].show(found[1]);
    if (narrow.matches) window.scrollTo(0, 0);
    return;
  }
  const name = ["overview", "flow", "configuration"].includes(first) || (KINDS[first] && data.counts[first]) ? first : "overview";
  view(name);
  if (lists[name]) {
    lists[name].frame.classList.remove("open");
    lists[name].set(query);
    if (narrow.matches || query) lists[name].show(narrow.matches ? null : lists[name].found[0]);
    else if (!lists[name].open) lists[name].show(lists[name].found[0]);
  }
}
document.addEventListener("keydown", (event) => {
  const open = Object.values(lists).find((list) => !list.frame.closest(".view").hidden);
  if (!open || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key === "/" && document.activeElement !== open.search) {
    event.preventDefault();
    open.frame.classList.remove("open");
    open.search.focus();
  }
  if (event.key === "Escape") {
    open.frame.classList.remove("open");
    open.list.focus();
  }
  if (event.key === "ArrowDown" && document.activeElement === open.search) {
    event.preventDefault();
    open.list.focus();
  }
});

if (data.page === "run") {
  index();
  window.addEventListener("hashchange", route);
  route();
  document.documentElement.dataset.ready = "true";
}
