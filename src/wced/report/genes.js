// Search for a gene: its family, program, and errors in each model. The data stand in the page; nothing is loaded.
const data = JSON.parse(document.getElementById("genes-data").textContent);
const box = document.getElementById("gene");
const found = document.getElementById("found");
const most = 10;

function number(value, digits) {
  return value === null ? "" : value.toFixed(digits);
}

function share(value) {
  return value === null ? "" : `${Math.round(100 * value)}%`;
}

function matches(query) {
  const exact = [], starts = [], contains = [];
  for (const gene of data.genes) {
    const symbol = gene[1].toUpperCase(), id = gene[0].toUpperCase();
    if (symbol === query || id === query) exact.push(gene);
    else if (symbol.startsWith(query)) starts.push(gene);
    else if (symbol.includes(query) || id.includes(query)) contains.push(gene);
  }
  return [...exact, ...starts, ...contains];
}

function cell(row, text, className) {
  const td = row.insertCell();
  td.textContent = text;
  if (className) td.className = className;
}

function table(gene) {
  const [id, symbol, family, program, models] = gene;
  const box = document.createElement("div");
  const title = document.createElement("h3");
  title.textContent = `${symbol} (${id})`;
  const about = document.createElement("p");
  about.textContent = `Family: ${data.families[family]}. Program: ${data.programs[program]}${data.proxy}.`;
  const rows = document.createElement("table");
  const head = rows.createTHead().insertRow();
  for (const name of data.columns) {
    const th = document.createElement("th");
    th.textContent = name;
    head.append(th);
  }
  const body = rows.createTBody();
  data.models.forEach((name, i) => {
    const row = body.insertRow(), m = models[i];
    cell(row, name);
    if (m === null) {
      cell(row, "no prediction of this gene was scored");
      row.lastChild.colSpan = data.columns.length - 1;
      return;
    }
    cell(row, m[0].toLocaleString("en"), "num");
    cell(row, share(m[1]), "num");
    cell(row, number(m[2], 3), "num");
    cell(row, number(m[3], 3), "num");
    cell(row, m[4] === null ? "" : `${m[4] > 0 ? "+" : ""}${Math.round(100 * m[4])}%`, "num");
    cell(row, number(m[5], 3), "num");
    cell(row, number(m[6], 3), "num");
    cell(row, number(m[7], 2), "num");
    cell(row, data.calls[m[8]] + (m[10] === "" ? "" : `: ${m[10]}`));
    cell(row, share(m[9]), "num");
  });
  const scroll = document.createElement("div");
  scroll.className = "scroll";
  scroll.append(rows);
  box.append(title, about, scroll);
  return box;
}

function show() {
  const query = box.value.trim().toUpperCase();
  found.replaceChildren();
  if (query.length < 2) return;
  const genes = matches(query);
  const note = document.createElement("p");
  note.className = "caption";
  note.textContent = genes.length === 0 ? `No gene is called ${box.value.trim()} here. Genes have current HGNC symbols.`
    : genes.length > most ? `${genes.length} genes match; the first ${most} are shown.` : "";
  found.append(note, ...genes.slice(0, most).map(table));
}

box.addEventListener("input", show);
show();
