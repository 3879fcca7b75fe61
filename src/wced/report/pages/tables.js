// Tables that sort, search and download; the page reads well without this. Nothing is loaded.
"use strict";

function valueOf(cell) {
  if (cell === undefined) return "";
  const own = cell.cloneNode(true);
  for (const aside of own.querySelectorAll("small, sup")) aside.remove();
  return (cell.dataset.v ?? own.textContent).trim();
}

// Numbers by size, text as a reader orders it, and what has no value last, whichever way.
function compare(a, b, numeric, sign) {
  const none = (text) => text === "" || text === "–";
  if (none(a) || none(b)) return none(a) - none(b);
  if (!numeric) return sign * a.localeCompare(b, "en", { numeric: true });
  const number = (text) => text === "∞" ? Infinity : text === "−∞" ? -Infinity : Number(text.replaceAll(",", ""));
  return sign * (number(a) - number(b));
}

function sortBy(table, place, direction) {
  const body = table.tBodies[0], header = table.tHead.rows[0].cells;
  for (const [i, cell] of [...header].entries()) cell.setAttribute("aria-sort", i === place ? direction : "none");
  const numeric = header[place].classList.contains("num"), sign = direction === "descending" ? -1 : 1;
  const keyed = table.rowsAsMade.map((row) => [row, valueOf(row.cells[place])]);
  if (direction !== "none") keyed.sort((a, b) => compare(a[1], b[1], numeric, sign));
  body.append(...keyed.map(([row]) => row));
}

function search(table, words, shown) {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  let n = 0;
  for (const row of table.rowsAsMade) {
    row.text ??= [...row.cells].map((cell) => cell.textContent.toLowerCase()).join("\n");
    row.hidden = !wanted.every((word) => row.text.includes(word));
    n += !row.hidden;
  }
  const all = table.rowsAsMade.length, rows = `${all.toLocaleString("en")} ${all === 1 ? "row" : "rows"}`;
  shown.textContent = wanted.length ? `${n.toLocaleString("en")} of ${rows}` : rows;
}

// What is shown, as TSV: numbers in full, and intervals in a column of their own.
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

function prepare(box) {
  const table = box.querySelector("table"), title = box.querySelector(".title > span").textContent;
  table.rowsAsMade = [...table.tBodies[0].rows];
  [...table.tHead.rows[0].cells].forEach((cell, place) => {
    const button = document.createElement("button");
    cell.dataset.name = cell.textContent;
    button.type = "button";
    button.append(...cell.childNodes);
    cell.append(button);
    cell.setAttribute("aria-sort", "none");
    const next = { none: "ascending", ascending: "descending", descending: "none" };
    button.addEventListener("click", () => sortBy(table, place, next[cell.getAttribute("aria-sort")]));
  });
  const tools = document.createElement("div"), field = document.createElement("input");
  const shown = document.createElement("span"), get = document.createElement("button");
  tools.className = "tools";
  field.type = "search";
  field.placeholder = "Search these rows";
  field.setAttribute("aria-label", `Search in: ${title}`);
  field.addEventListener("input", () => search(table, field.value, shown));
  shown.className = "shown";
  shown.setAttribute("role", "status");
  get.type = "button";
  get.textContent = "Download TSV";
  get.setAttribute("aria-label", `Download TSV of the rows shown: ${title}`);
  get.addEventListener("click", () => download(table, box.id.replace(/^table-/, "")));
  tools.append(field, get, shown);
  box.querySelector(".scroll").before(tools);
  search(table, "", shown);
}

document.querySelectorAll(".table").forEach(prepare);

// On a narrow screen the contents stand above the page, folded.
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
  for (let place = target && target.closest("details"); place; place = place.parentElement.closest("details")) place.open = true;
}
addEventListener("hashchange", unfold);
unfold();
