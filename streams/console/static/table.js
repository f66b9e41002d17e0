// Tables that sort: by a click on a head, or with Enter or Space on it. The order stays when new figures come.

import { element } from "./dom.js";

// column: { title, value(row) to sort by, show(row) text or element, number, minor: not on a phone, kind: a class }
export function table(node, columns, empty) {
  let order = null;
  let rows = [];
  const heads = columns.map((column, index) => head(column, () => turn(index)));
  const body = element("tbody");
  node.replaceChildren(element("thead", {}, element("tr", {}, ...heads)), body);

  function head(column, sort) {
    const cell = element("th", { scope: "col", class: kind(column) });
    if (!column.value) {
      cell.append(column.title);
      return cell;
    }
    const button = element("button", { type: "button" }, column.title);
    button.addEventListener("click", sort);
    cell.append(button);
    return cell;
  }

  function turn(index) {
    const first = columns[index].number ? "descending" : "ascending";
    const other = first === "ascending" ? "descending" : "ascending";
    order = { index, way: order?.index === index && order.way === first ? other : first };
    heads.forEach((cell, place) => {
      if (place === index) cell.setAttribute("aria-sort", order.way);
      else cell.removeAttribute("aria-sort");
    });
    draw();
  }

  function draw() {
    const shown = rows.length ? sorted().map(line) : [nothing()];
    body.replaceChildren(...shown);
  }

  function sorted() {
    if (!order) return rows;
    const { value } = columns[order.index];
    const sign = order.way === "ascending" ? 1 : -1;
    return [...rows].sort((one, other) => sign * compared(value(one), value(other)));
  }

  function line(row) {
    return element("tr", {}, ...columns.map((column) => element("td", { class: kind(column) }, column.show(row))));
  }

  function nothing() {
    return element("tr", {}, element("td", { colspan: columns.length, class: "empty" }, empty));
  }

  return (now) => {
    rows = now;
    draw();
  };
}

function kind(column) {
  return [column.kind, column.number && "number", column.minor && "minor"].filter(Boolean).join(" ");
}

function compared(one, other) {
  if (typeof one === "number" && typeof other === "number") return one - other;
  return String(one).localeCompare(String(other), "en", { numeric: true });
}
