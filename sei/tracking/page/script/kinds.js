// The kinds of records: what a list shows, filters and searches

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
      problem.score === undefined ? "" : "score at least " + problem.score.toFixed(2),
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
