// Lines over the last five minutes, drawn as SVG. Each chart can be read in three ways: by eye, by
// arrow keys, and as a table of numbers.
import { el, svg } from "./dom.js";

const SPAN = 300_000;
// Samples that lie further apart are not joined by a line.
const GAP = 4000;
const LEFT = 54, RIGHT = 10, TOP = 8, BOTTOM = 20;

// The least of 1, 2, 2.5, 5, 10, 20... that is not less.
function round(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].find((step) => step * power >= value) * power;
}

// Paths for the parts without gaps: of a line, and of the area below it.
function paths(points, key, x, y) {
  let line = "", area = "", start = null, before = null;
  const close = () => {
    if (start !== null) area += `L${before[0]} ${y(0)}L${start} ${y(0)}Z`;
    start = null;
  };
  let last = -Infinity;
  for (const point of points) {
    const value = point[key];
    if (value === null) { close(); last = -Infinity; continue; }
    const place = [x(point.t).toFixed(1), y(value).toFixed(1)];
    const joined = point.t - last < GAP;
    if (!joined) { close(); start = place[0]; area += `M${place[0]} ${y(0)}L${place}`; }
    else area += `L${place}`;
    line += `${joined ? "L" : "M"}${place}`;
    before = place;
    last = point.t;
  }
  close();
  return { line, area };
}

export function spark(node, points, key, now) {
  const width = 200, height = 38;
  const most = Math.max(...points.map((p) => p[key] ?? 0), 1e-9);
  const x = (t) => width * (1 - (now - t) / SPAN);
  const y = (v) => height - 1 - (height - 5) * (v / most);
  const { line, area } = paths(points, key, x, y);
  node.querySelector(".line").setAttribute("d", line);
  node.querySelector(".area").setAttribute("d", area);
}

export function sparkNode(colour) {
  return svg("svg", { viewBox: "0 0 200 38", preserveAspectRatio: "none", class: colour, "aria-hidden": "true" },
    svg("path", { class: "area" }), svg("path", { class: "line" }));
}

export class Chart {
  // series: { key, label, colour, area }; show: a number as text.
  constructor(host, { title, series, show, tick }) {
    this.title = title;
    this.series = series;
    this.show = show;
    this.tick = tick ?? show;
    this.points = [];
    this.at = null;
    this.values = series.map(() => el("b", {}, "–"));
    const keys = series.map((s, i) => el("span", { class: `key ${s.colour}` }, el("span", { class: "note" }, `${s.label} `), this.values[i]));
    this.when = el("span", {});
    this.svg = svg("svg", { role: "img", tabindex: "0", "aria-label": title });
    this.table = el("table", {});
    this.details = el("details", {}, el("summary", {}, "As numbers"), this.table);
    host.append(el("figure", { class: "chart" },
      el("figcaption", { class: "legend" }, el("h3", {}, title), this.when, ...keys), this.svg, this.details));
    this.details.addEventListener("toggle", () => this.numbers());
    this.svg.addEventListener("pointermove", (e) => this.point(e.offsetX));
    this.svg.addEventListener("pointerleave", () => this.leave());
    this.svg.addEventListener("blur", () => this.leave());
    this.svg.addEventListener("keydown", (e) => this.key(e));
    new ResizeObserver(() => this.draw(this.points, this.now)).observe(this.svg);
  }

  leave() { this.at = null; this.mark(); }

  key(event) {
    const steps = { ArrowLeft: -5000, ArrowRight: 5000, Home: -SPAN, End: SPAN };
    if (event.key === "Escape") return this.leave();
    if (!(event.key in steps)) return;
    event.preventDefault();
    const from = this.at ?? this.now;
    this.at = Math.min(this.now, Math.max(this.now - SPAN, from + steps[event.key]));
    this.mark();
  }

  point(offset) {
    const share = (offset - LEFT) / (this.width - LEFT - RIGHT);
    this.at = this.now - SPAN * (1 - Math.min(1, Math.max(0, share)));
    this.mark();
  }

  draw(points, now) {
    this.points = points;
    this.now = now;
    this.width = this.svg.clientWidth;
    const height = this.svg.clientHeight;
    if (!this.width || !now) return;
    const most = round(Math.max(0, ...points.flatMap((p) => this.series.map((s) => p[s.key] ?? 0))) * 1.05);
    const x = (t) => LEFT + (this.width - LEFT - RIGHT) * (1 - (now - t) / SPAN);
    const y = (v) => TOP + (height - TOP - BOTTOM) * (1 - v / most);
    this.x = x;
    const parts = [];
    for (const v of [0, most / 2, most]) {
      parts.push(svg("line", { class: "grid", x1: LEFT, x2: this.width - RIGHT, y1: y(v), y2: y(v) }));
      parts.push(svg("text", { x: LEFT - 8, y: y(v) + 4, "text-anchor": "end" }, this.tick(v)));
    }
    for (const [t, text, anchor] of [[SPAN, "5 min ago", "start"], [SPAN / 2, "2½ min", "middle"], [0, "now", "end"]]) {
      parts.push(svg("text", { x: x(now - t), y: height - 4, "text-anchor": anchor }, text));
    }
    for (const s of this.series) {
      const { line, area } = paths(points, s.key, x, y);
      if (s.area) parts.push(svg("path", { class: `area ${s.colour}`, d: area }));
      parts.push(svg("path", { class: `line ${s.colour}`, d: line, "stroke-dasharray": s.dash ?? "none" }));
    }
    this.cursor = svg("line", { class: "cursor", y1: TOP, y2: height - BOTTOM, visibility: "hidden" });
    this.svg.replaceChildren(...parts, this.cursor);
    this.mark();
    this.describe();
    if (this.details.open && now - (this.told ?? 0) > 5000) this.numbers();
  }

  // Shows the values at the cursor, or the newest.
  mark() {
    const newest = this.points.at(-1);
    let shown = newest;
    if (this.at !== null) {
      shown = this.points.reduce((best, p) => (!best || Math.abs(p.t - this.at) < Math.abs(best.t - this.at) ? p : best), null);
    }
    this.series.forEach((s, i) => { this.values[i].textContent = shown && shown[s.key] !== null ? this.show(shown[s.key]) : "–"; });
    if (!this.cursor) return;
    const pinned = this.at !== null && shown;
    this.when.textContent = pinned ? new Date(shown.t).toLocaleTimeString() : "";
    this.cursor.setAttribute("visibility", pinned ? "visible" : "hidden");
    if (pinned) for (const end of ["x1", "x2"]) this.cursor.setAttribute(end, this.x(shown.t));
  }

  describe() {
    const texts = this.series.map((s) => {
      const values = this.points.map((p) => p[s.key]).filter((v) => v !== null);
      if (!values.length) return `${s.label}: nothing yet`;
      return `${s.label}: now ${this.show(values.at(-1))}, from ${this.show(Math.min(...values))} to ${this.show(Math.max(...values))}`;
    });
    this.svg.setAttribute("aria-label", `${this.title}, the last five minutes. ${texts.join("; ")}. Arrow keys move a cursor.`);
  }

  // Averages of half minutes.
  numbers() {
    if (!this.details.open || !this.now) return;
    this.told = this.now;
    const rows = [];
    for (let end = this.now; end > this.now - SPAN; end -= 30_000) {
      const inside = this.points.filter((p) => p.t > end - 30_000 && p.t <= end);
      const mean = (key) => {
        const values = inside.map((p) => p[key]).filter((v) => v !== null);
        return values.length ? this.show(values.reduce((a, b) => a + b) / values.length) : "–";
      };
      const time = new Date(end).toLocaleTimeString();
      rows.push(el("tr", {}, el("th", { scope: "row" }, time), ...this.series.map((s) => el("td", { class: "n" }, mean(s.key)))));
    }
    const heads = ["Half a minute until", ...this.series.map((s) => s.label)];
    this.table.replaceChildren(
      el("thead", {}, el("tr", {}, ...heads.map((h, i) => el("th", { scope: "col", class: i ? "n" : "" }, el("span", {}, h))))),
      el("tbody", {}, ...rows));
  }
}
