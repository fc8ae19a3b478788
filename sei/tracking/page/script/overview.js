// Overview: error types, their map, loss

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
