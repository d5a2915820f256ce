// Tables that are wider than a narrow screen: each row becomes a card, whose lines begin with the
// heading of their column. Wide screens, and tables that fit, stay as they are.
const narrow = window.matchMedia("(max-width: 45rem)");

function label(table) {
  const names = [...table.querySelectorAll("thead th")].map((th) => th.textContent.trim());
  for (const row of table.querySelectorAll("tbody tr")) {
    [...row.children].forEach((cell, i) => {
      if (names[i]) cell.dataset.column = names[i];
      cell.classList.toggle("empty", !cell.textContent.trim());
    });
  }
}

function arrange() {
  for (const table of document.querySelectorAll(".bd-article table.table")) {
    table.classList.remove("cards");
    const room = table.parentElement.clientWidth;
    if (narrow.matches && table.querySelector("thead") && table.scrollWidth > room + 1) {
      label(table);
      table.classList.add("cards");
    }
  }
}

window.addEventListener("DOMContentLoaded", arrange);
window.addEventListener("resize", arrange);
