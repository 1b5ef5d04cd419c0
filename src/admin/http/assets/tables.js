// Tables that can be sorted, and that keep their rows, and the focus in them, when numbers change.
import { el, setText } from "./dom.js";

export class Table {
  // columns: { name, title, number, wide, head, key (to sort by), cell (fills a td) }
  constructor(node, { caption, columns, sort, none }) {
    this.columns = columns;
    this.sort = sort;
    this.none = none;
    this.rows = new Map();
    this.data = [];
    this.heads = columns.map((c) => this.head(c));
    this.body = el("tbody");
    node.replaceChildren(...(caption ? [el("caption", {}, caption)] : []), el("thead", {}, el("tr", {}, ...this.heads)), this.body);
  }

  head(column) {
    const kind = [column.number ? "n" : "", column.wide ? "wide" : ""].join(" ").trim();
    const th = el("th", { scope: "col", class: kind || null, title: column.hint });
    if (!column.key) { th.append(el("span", {}, column.title)); return th; }
    const button = el("button", { type: "button" }, column.title);
    button.addEventListener("click", () => {
      const [name, down] = this.sort;
      this.sort = [column.name, name === column.name ? !down : Boolean(column.number)];
      this.fill(this.data);
    });
    th.append(button);
    return th;
  }

  // Each of `data` has an `id`.
  fill(data) {
    this.data = data;
    const [by, down] = this.sort ?? [];
    const column = this.columns.find((c) => c.name === by);
    if (column) {
      const sign = down ? -1 : 1;
      data = data.map((d) => [column.key(d), d]).sort(([a, x], [b, y]) => {
        const order = typeof a === "string" ? a.localeCompare(b) : (a ?? -1) - (b ?? -1);
        return sign * order || String(x.id).localeCompare(String(y.id));
      }).map(([, d]) => d);
    }
    this.columns.forEach((c, i) => {
      if (c.name === by) this.heads[i].setAttribute("aria-sort", down ? "descending" : "ascending");
      else this.heads[i].removeAttribute("aria-sort");
    });
    const seen = new Set();
    let before = null;
    for (const item of data) {
      seen.add(item.id);
      let row = this.rows.get(item.id);
      if (!row) { row = this.row(); this.rows.set(item.id, row); }
      this.columns.forEach((c, i) => c.cell(row.cells[i], item));
      const next = before ? before.nextSibling : this.body.firstChild;
      // Moving a row that has the focus would take it away.
      if (next !== row) this.place(row, next);
      before = row;
    }
    for (const [id, row] of this.rows) {
      if (!seen.has(id)) { row.remove(); this.rows.delete(id); }
    }
    this.empty?.remove();
    this.empty = null;
    if (!data.length) {
      this.empty = el("tr", {}, el("td", { class: "none", colspan: this.columns.length }, this.none));
      this.body.append(this.empty);
    }
  }

  place(row, next) {
    const focus = row.contains(document.activeElement) ? document.activeElement : null;
    this.body.insertBefore(row, next);
    focus?.focus({ preventScroll: true });
  }

  row() {
    return el("tr", {}, ...this.columns.map((c) => {
      const kind = [c.number ? "n" : "", c.wide ? "wide" : "", c.kind ?? ""].join(" ").trim();
      return c.head ? el("th", { scope: "row" }) : el("td", { class: kind || null });
    }));
  }
}

// Columns of texts and numbers.
export const text = (name, title, value, more = {}) => ({
  name, title, key: more.unsorted ? null : (d) => String(value(d)), cell: (td, d) => setText(td, String(value(d))), ...more,
});
export const number = (name, title, value, show, more = {}) => ({
  name, title, number: true, key: value,
  cell: (td, d) => {
    setText(td, value(d) === null ? "–" : show(value(d)));
    const mood = more.mood?.(d);
    td.classList.toggle("warn", mood === "warn");
    td.classList.toggle("bad", mood === "bad");
  },
  ...more,
});
