// Where the address leads: #overview, #types, #type/3, #items?change=fixed, #item/ID

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
