// Search for a gene: its family, program, and errors in each model. The data are in the page; nothing is loaded.
const data = JSON.parse(document.getElementById("genes-data").textContent);
const box = document.getElementById("gene");
const results = document.getElementById("found");
const most = 10;

const count = (value) => value.toLocaleString("en");
const digits = (n) => (value) => value.toFixed(n);
const share = (value) => `${Math.round(100 * value)}%`;
const change = (value) => `${value > 0 ? "+" : ""}${share(value)}`;
// One for each number of a model, in the order of the columns.
const formats = [count, share, digits(3), digits(3), change, digits(3), digits(3), digits(2)];

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

function add(parent, tag, text, className = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  element.className = className;
  parent.append(element);
  return element;
}

function table([id, symbol, family, program, models]) {
  const section = document.createElement("div");
  add(section, "h3", `${symbol} (${id})`);
  add(section, "p", `Family: ${data.families[family]}. Program: ${data.programs[program]}${data.proxy}.`);
  const rows = add(add(section, "div", "", "scroll"), "table", "");
  const head = rows.createTHead().insertRow(), body = rows.createTBody();
  for (const name of data.columns) add(head, "th", name);
  data.models.forEach((name, i) => {
    const row = body.insertRow(), model = models[i];
    add(row, "td", name);
    if (model === null) {
      add(row, "td", "no prediction of this gene was scored").colSpan = data.columns.length - 1;
      return;
    }
    const [call, sure, reason] = model.slice(formats.length);
    formats.forEach((format, j) => add(row, "td", model[j] === null ? "" : format(model[j]), "num"));
    add(row, "td", data.calls[call] + (reason === "" ? "" : `: ${reason}`));
    add(row, "td", sure === null ? "" : share(sure), "num");
  });
  return section;
}

function show() {
  const query = box.value.trim().toUpperCase();
  results.replaceChildren();
  if (query.length < 2) return;
  const genes = matches(query);
  add(results, "p", genes.length === 0 ? `No gene is called ${box.value.trim()} here. Genes have current HGNC symbols.`
    : genes.length > most ? `${genes.length} genes match; the first ${most} are shown.` : "", "note");
  results.append(...genes.slice(0, most).map(table));
}

box.addEventListener("input", show);
show();
