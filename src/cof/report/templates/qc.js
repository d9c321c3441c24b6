// The table of all subjects: sort by a column, show only flagged rows. Without this script, the table shows all rows.
"use strict";

const table = document.getElementById("subjects");
const body = table.tBodies[0];

function value(row, column) {
  const text = row.cells[column].textContent.replace(/\*+$/, "");
  const number = Number(text);
  return text === "–" ? null : Number.isNaN(number) ? text : number;
}

function sort(heading) {
  const column = heading.cellIndex;
  const up = heading.getAttribute("aria-sort") !== "ascending";
  const rows = Array.from(body.rows, (row) => [value(row, column), row]);
  rows.sort(([a], [b]) => {
    // Unknown values come last in both directions.
    if (a === null || b === null) return (a === null) - (b === null);
    return (a < b ? -1 : a > b ? 1 : 0) * (up ? 1 : -1);
  });
  body.append(...rows.map(([, row]) => row));
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", up ? "ascending" : "descending");
}

for (const heading of table.tHead.rows[0].cells) {
  heading.querySelector("button").addEventListener("click", () => sort(heading));
}
document.getElementById("flagged-only").addEventListener("change", (event) => {
  table.classList.toggle("flagged-only", event.target.checked);
});
