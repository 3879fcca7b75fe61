// Tables that sort, search and download. The page is readable without this, and nothing is loaded.

function valueOf(cell) {
  if (cell === undefined) return "";
  const copy = cell.cloneNode(true);
  for (const aside of copy.querySelectorAll("small, sup")) aside.remove();
  return (cell.dataset.v ?? copy.textContent).trim();
}

// Numbers by size, text in alphabetical order, and cells without a value last in both directions.
function compare(a, b, numeric, sign) {
  const none = (text) => text === "" || text === "–";
  if (none(a) || none(b)) return none(a) - none(b);
  if (!numeric) return sign * a.localeCompare(b, "en", { numeric: true });
  const number = (text) => text === "∞" ? Infinity : text === "−∞" ? -Infinity : Number(text.replaceAll(",", ""));
  return sign * (number(a) - number(b));
}

function sortBy(table, column, direction) {
  const header = table.tHead.rows[0].cells;
  for (const [i, cell] of [...header].entries()) cell.setAttribute("aria-sort", i === column ? direction : "none");
  const numeric = header[column].classList.contains("num"), sign = direction === "descending" ? -1 : 1;
  const keyed = table.originalRows.map((row) => [row, valueOf(row.cells[column])]);
  if (direction !== "none") keyed.sort((a, b) => compare(a[1], b[1], numeric, sign));
  table.tBodies[0].append(...keyed.map(([row]) => row));
}

function search(table, text, status) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean), all = table.originalRows;
  for (const row of all) {
    row.text ??= [...row.cells].map((cell) => cell.textContent.toLowerCase()).join("\n");
    row.hidden = !words.every((word) => row.text.includes(word));
  }
  const rows = `${all.length.toLocaleString("en")} ${all.length === 1 ? "row" : "rows"}`;
  const shown = all.filter((row) => !row.hidden).length.toLocaleString("en");
  status.textContent = words.length ? `${shown} of ${rows}` : rows;
}

// The rows shown as TSV, with full numbers, and intervals in their own columns.
function asText(table) {
  const clean = (text) => text.replace(/\s+/g, " ").trim();
  const rows = [...table.tBodies[0].rows].filter((row) => !row.hidden);
  const header = [...table.tHead.rows[0].cells].map((cell) => clean(cell.dataset.name));
  const withInterval = header.map((_, i) => rows.some((row) => row.cells[i]?.querySelector("small")));
  const line = (fields) => fields.flat().join("\t");
  const lines = rows.map((row) => line(header.map((_, i) => {
    const value = valueOf(row.cells[i]) === "–" ? "" : clean(valueOf(row.cells[i]));
    return withInterval[i] ? [value, clean(row.cells[i]?.querySelector("small")?.textContent ?? "")] : [value];
  })));
  const names = header.map((name, i) => withInterval[i] ? [name, `${name} interval`] : [name]);
  return [line(names), ...lines].join("\n") + "\n";
}

function download(table, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([asText(table)], { type: "text/tab-separated-values" }));
  link.download = `${name}.tsv`;
  link.click();
  URL.revokeObjectURL(link.href);
}

function make(tag, properties, label) {
  const element = Object.assign(document.createElement(tag), properties);
  if (label) element.setAttribute("aria-label", label);
  return element;
}

function prepare(box) {
  const table = box.querySelector("table"), title = box.querySelector(".title > span").textContent;
  table.originalRows = [...table.tBodies[0].rows];
  [...table.tHead.rows[0].cells].forEach((cell, column) => {
    const button = make("button", { type: "button" });
    cell.dataset.name = cell.textContent;
    button.append(...cell.childNodes);
    cell.append(button);
    cell.setAttribute("aria-sort", "none");
    const next = { none: "ascending", ascending: "descending", descending: "none" };
    button.addEventListener("click", () => sortBy(table, column, next[cell.getAttribute("aria-sort")]));
  });
  const field = make("input", { type: "search", placeholder: "Search these rows" }, `Search in: ${title}`);
  const get = make("button", { type: "button", textContent: "Download TSV" }, `Download TSV of the rows shown: ${title}`);
  const status = make("span", { className: "shown" }), tools = make("div", { className: "tools" });
  status.setAttribute("role", "status");
  field.addEventListener("input", () => search(table, field.value, status));
  get.addEventListener("click", () => download(table, box.id.replace(/^table-/, "")));
  tools.append(field, get, status);
  box.querySelector(".scroll").before(tools);
  search(table, "", status);
}

document.querySelectorAll(".table").forEach(prepare);

// On a narrow screen the contents are above the page, folded.
if (matchMedia("(max-width: 60rem)").matches) document.querySelector("nav details").open = false;

// On a phone broad figures scroll in their frames (style.css), by keyboard too.
if (matchMedia("(max-width: 40rem)").matches) {
  for (const plate of document.querySelectorAll(".plate.broad")) {
    plate.tabIndex = 0;
    plate.setAttribute("role", "group");
    plate.setAttribute("aria-label", plate.querySelector("img").alt);
  }
}

// A link to something inside folded details opens them.
function unfold() {
  const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let node = target && target.closest("details"); node; node = node.parentElement.closest("details")) node.open = true;
}
addEventListener("hashchange", unfold);
unfold();
