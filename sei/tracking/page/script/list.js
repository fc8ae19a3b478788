// A list of one kind beside one of its records. Only the rows in sight are on the page.

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
