"use strict";
// Comforts only: without this script everything is still on the page.

// Zoom of the time axis: the drawing gets wider inside its scroller, the middle stays in view.
for (const button of document.querySelectorAll("[data-zoom]:is(button)")) {
  button.addEventListener("click", () => {
    const figure = button.closest("figure");
    const plot = figure.querySelector(".plot");
    const scroller = plot.parentElement;
    const middle = (scroller.scrollLeft + scroller.clientWidth / 2) / scroller.scrollWidth;
    plot.style.width = 100 * button.dataset.zoom + "%";
    plot.dataset.zoom = button.dataset.zoom;
    scroller.scrollLeft = middle * scroller.scrollWidth - scroller.clientWidth / 2;
    for (const other of figure.querySelectorAll(".zoom button"))
      other.setAttribute("aria-pressed", String(other === button));
  });
}

// A picture enlarges in a dialog; Escape, the button or a click beside it closes.
const viewer = document.getElementById("viewer");
for (const button of document.querySelectorAll(".enlarge")) {
  button.addEventListener("click", () => {
    const image = button.querySelector("img");
    viewer.querySelector("img").src = image.src;
    viewer.querySelector("img").alt = image.alt;
    viewer.querySelector("p").textContent = button.parentElement.querySelector("figcaption").textContent;
    viewer.showModal();
  });
}
viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });

// A link to a video or a bout opens what it is folded into.
function unfold() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let node = target; node; node = node.parentElement) if (node.tagName === "DETAILS") node.open = true;
  if (target) target.scrollIntoView({ block: target.tagName === "TR" ? "center" : "start" });
}
addEventListener("hashchange", unfold);
if (location.hash) unfold();

// On paper nothing is folded.
addEventListener("beforeprint", () => { for (const fold of document.querySelectorAll("details")) fold.open = true; });

// Columns sort by a click on their head: text as text, numbers as numbers, dashes last.
for (const head of document.querySelectorAll("th.sortable")) {
  const table = head.closest("table");
  const column = () => {
    const rows = [...table.tHead.rows];
    if (head.parentElement === rows[0]) return head.cellIndex;
    return [...rows[0].cells].filter((cell) => cell.rowSpan === 2).length + head.cellIndex;
  };
  head.tabIndex = 0;
  const sort = () => {
    const descending = head.getAttribute("aria-sort") === "ascending";
    for (const other of table.querySelectorAll("[aria-sort]")) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const value = (row) => {
      const cell = row.cells[column()];
      return cell ? parseFloat(cell.dataset.value ?? cell.textContent) : NaN;
    };
    const rows = [...table.tBodies[0].rows].sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
      return descending ? y - x : x - y;
    });
    table.tBodies[0].append(...rows);
  };
  head.addEventListener("click", sort);
  head.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(); });
}

for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", () => {
    const text = document.getElementById(button.dataset.copy);
    getSelection().selectAllChildren(text);
    document.execCommand("copy");
    button.textContent = "Copied";
  });
}
