"use strict";

// Charts: each figure is data beside the place that it is drawn in.
const PAPER_WIDTH = 680; // CSS pixels between the margins of an A4 page
const plots = [];
for (const plot of document.querySelectorAll(".plot")) {
  const figure = JSON.parse(document.getElementById(plot.id.replace("plot-", "figure-")).textContent);
  const config = { responsive: true, displaylogo: false, modeBarButtons: [["toImage"]] };
  Plotly.newPlot(plot, figure.data, figure.layout, config);
  plots.push(plot);
}
addEventListener("beforeprint", () => plots.forEach((plot) => Plotly.relayout(plot, { width: PAPER_WIDTH })));
addEventListener("afterprint", () => plots.forEach((plot) => Plotly.relayout(plot, { width: null, autosize: true })));

// The layer table: a heading sorts by its column, the search leaves the rows that hold every word.
const table = document.getElementById("layer-table");
const body = table.tBodies[0];
const headings = [...table.tHead.rows[0].cells];

function compare(one, other, descending) {
  const [a, b] = [one, other].map((cell) => cell.dataset.number);
  if (a !== undefined && b !== undefined) return descending ? b - a : a - b;
  if (a !== undefined || b !== undefined) return a === undefined ? 1 : -1; // nothing comes last, either way
  const order = one.textContent.localeCompare(other.textContent, "en", { numeric: true });
  return descending ? -order : order;
}

headings.forEach((heading, column) => {
  heading.firstElementChild.addEventListener("click", () => {
    const descending = heading.getAttribute("aria-sort") === "ascending";
    headings.forEach((each) => each.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const rows = [...body.rows].sort((one, other) => compare(one.cells[column], other.cells[column], descending));
    body.append(...rows);
  });
});

const search = document.getElementById("search");
search.addEventListener("input", () => {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of body.rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
    shown += !row.hidden;
  }
  document.getElementById("found").textContent = `${shown} of ${body.rows.length} rows`;
});
