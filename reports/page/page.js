"use strict";
// Tables that sort: each header becomes a button; numbers by the first number in a cell (with its k, M or G), text by alphabet.
const SCALE = { k: 1e3, M: 1e6, G: 1e9 };
const NUMBER = /([-−+]?)(\d[\d,]*\.?\d*|\.\d+)(e[-+]?\d+)?\s?([kMG](?![A-Za-z]))?/;
function numberOf(text) {
  const found = NUMBER.exec(text);
  if (!found) return null;
  const value = Number(found[2].replaceAll(",", "") + (found[3] || "")) * (SCALE[found[4]] || 1);
  return found[1] === "-" || found[1] === "−" ? -value : value;
}
function sortBy(table, column, isText, isDown) {
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row, place) => {
    const text = row.cells[column].querySelector(".value").textContent.trim();
    return { row, place, key: isText ? text : numberOf(text) };
  });
  const order = isDown ? -1 : 1;
  rows.sort((one, two) => {
    if (one.key === null || two.key === null) return (one.key === null) - (two.key === null) || one.place - two.place;
    const apart = isText ? one.key.localeCompare(two.key, "en", { numeric: true }) : one.key - two.key;
    return order * apart || one.place - two.place;
  });
  body.append(...rows.map((found) => found.row));
}
for (const table of document.querySelectorAll("table.sorts")) {
  table.tHead.classList.add("sortable");
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const isDown = header.getAttribute("aria-sort") === "ascending";
      for (const row of table.querySelectorAll("tr.apart")) row.classList.remove("apart");
      for (const other of headers) other.removeAttribute("aria-sort");
      header.setAttribute("aria-sort", isDown ? "descending" : "ascending");
      sortBy(table, column, header.classList.contains("text"), isDown);
    });
  });
}
// On paper nothing is folded away, and a table's header is on each of its pages: Chromium repeats none that contains buttons.
const taken = [];
addEventListener("beforeprint", () => {
  for (const button of document.querySelectorAll("th > button")) {
    taken.push([button.parentElement, button]);
    button.replaceWith(...button.childNodes);
  }
  for (const fold of document.querySelectorAll("details:not([open]):not(.long)")) {
    fold.open = true;
    fold.dataset.closed = "";
  }
});
addEventListener("afterprint", () => {
  for (const [header, button] of taken.splice(0)) {
    button.append(...header.childNodes);
    header.append(button);
  }
  for (const fold of document.querySelectorAll("details[data-closed]")) {
    fold.open = false;
    delete fold.dataset.closed;
  }
});
