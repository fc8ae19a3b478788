// Flow and configuration

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
