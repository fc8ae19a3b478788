// One record

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
      problem.score === undefined ? null : chip("one-shot score at least " + problem.score.toFixed(2)),
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

// One error type

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

const STATUS = { regrouped: "regrouped: its mistakes are in other types now" };
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
      type.status ? chip(STATUS[type.status] || type.status, type.status === "fixed" ? "good" : "") : null,
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
