// The page: what is shown where, and what happens when pgweir is not there.
import { follow, get, post, Refused } from "./api.js";
import { Chart, spark, sparkNode } from "./charts.js";
import { askPassword, confirm, say, stopAsking } from "./dialogs.js";
import { bytes, count, el, find, millis, percent, rate, setText, span } from "./dom.js";
import { number, Table, text } from "./tables.js";

const MINUTES = 300_000;

let session = { viewer: false, admin: false };
let snapshot = null;
let points = [];
let lastRow = null;
let lastEvent = -1;

// --- numbers over time -------------------------------------------------------

// A sample and the one before it: what happened in between, a second.
function add(row) {
  if (lastRow && row.at <= lastRow.at) return;
  const before = lastRow;
  lastRow = row;
  if (!before) return;
  const seconds = (row.at - before.at) / 1000;
  // A counter may be forgotten with its pool.
  const more = (key) => Math.max(0, row[key] - before[key]);
  const share = (part, whole) => (whole > 0 ? part / whole : null);
  // Hits are among the queries, but no server has had them.
  const queries = more("queries"), hits = more("hits"), misses = more("misses"), served = Math.max(0, queries - hits);
  points.push({
    t: row.at, seconds,
    queries: queries / seconds, served: served / seconds, hits: hits / seconds, misses: misses / seconds,
    transactions: more("transactions") / seconds, errors: more("errors") / seconds,
    latency: share(more("query_micros") / 1000, served),
    wait: share(more("wait_micros") / 1000, more("assignments")),
    ratio: share(hits, hits + misses),
    received: more("received") / seconds, sent: more("sent") / seconds,
    clients: row.clients, active: row.clients_active, waiting: row.clients_waiting,
    serversActive: row.servers_active, serversIdle: row.servers_idle, servers: row.servers_active + row.servers_idle,
  });
  while (points.length && points[0].t < row.at - MINUTES) points.shift();
}

const named = (columns, values) => Object.fromEntries(columns.map((name, i) => [name, values[i]]));

// The mean of the last five seconds: a single one jumps.
function mean(key) {
  const values = points.slice(-5).map((p) => p[key]).filter((v) => v !== null);
  return values.length ? values.reduce((a, b) => a + b) / values.length : null;
}

// --- tiles -------------------------------------------------------------------

const TILES = [
  { title: "Queries", key: "queries", colour: "blue", unit: "/s", show: (v) => rate(v ?? 0), more: () => `${rate(mean("transactions") ?? 0)} transactions/s` },
  { title: "Latency", key: "latency", colour: "violet", show: millis, more: () => `+ ${millis(mean("wait"))} wait` },
  { title: "Waiting clients", key: "waiting", colour: "amber", show: () => count(points.at(-1)?.waiting ?? 0),
    more: () => longest(), mood: () => (points.at(-1)?.waiting ? "warn" : "") },
  { title: "Clients", key: "clients", colour: "blue", show: () => count(points.at(-1)?.clients ?? lastRow?.clients ?? 0), more: () => `${count(points.at(-1)?.active ?? 0)} active` },
  { title: "Server connections", key: "servers", colour: "green", show: () => count(points.at(-1)?.servers ?? 0), more: () => `${count(points.at(-1)?.serversActive ?? 0)} in use` },
  { title: "Cache hits", key: "ratio", colour: "green", show: percent, more: () => (snapshot?.cache ? `${rate(mean("hits") ?? 0)} hits/s` : "off") },
  { title: "Errors", key: "errors", colour: "red", unit: "/s", show: (v) => rate(v ?? 0), more: () => `${count(lastRow?.errors ?? 0)} in all`, mood: (v) => (v > 0 ? "bad" : "") },
];

function longest() {
  const most = Math.max(0, ...(snapshot?.pools ?? []).map((p) => p.longest_wait_ms));
  return most ? `longest ${millis(most)}` : "nobody";
}

for (const tile of TILES) {
  tile.big = el("span", {});
  tile.note = el("dd", { class: "more" });
  tile.spark = sparkNode(tile.colour);
  tile.node = el("div", { class: "tile" },
    el("dl", {}, el("dt", {}, tile.title), el("dd", { class: "big" }, tile.big, el("small", {}, tile.unit ?? "")), tile.note), tile.spark);
  find("tiles").append(tile.node);
}

const charts = [
  new Chart(find("charts"), { title: "Throughput", show: (v) => `${rate(v)}/s`, tick: count, series: [
    { key: "queries", label: "queries", colour: "blue", area: true }, { key: "transactions", label: "transactions", colour: "violet", dash: "5 3" }] }),
  new Chart(find("charts"), { title: "Latency, mean", show: millis, series: [
    { key: "latency", label: "query", colour: "violet", area: true }, { key: "wait", label: "wait for a server", colour: "amber", dash: "5 3" }] }),
  new Chart(find("charts"), { title: "Clients and servers", show: count, series: [
    { key: "clients", label: "clients", colour: "blue", area: true }, { key: "waiting", label: "waiting", colour: "amber" }, { key: "serversActive", label: "servers used", colour: "green", dash: "5 3" }] }),
  new Chart(find("charts"), { title: "Answered by", show: (v) => `${rate(v)}/s`, tick: count, series: [
    { key: "served", label: "servers", colour: "blue", area: true }, { key: "hits", label: "cache", colour: "green", dash: "5 3" }] }),
];

// --- tables ------------------------------------------------------------------

// What pools have counted, for the rates of the last seconds.
const counted = [];
function ratesOf(pool) {
  const first = counted[0], last = counted.at(-1);
  const [a, b] = [first?.pools.get(pool.id), last?.pools.get(pool.id)];
  const seconds = first ? (last.at - first.at) / 1000 : 0;
  if (!a || !b || seconds <= 0) return { rate: null, latency: null, wait: null, errors: null, ratio: null };
  const more = (key) => Math.max(0, (b[key] ?? 0) - (a[key] ?? 0));
  const share = (part, whole) => (whole > 0 ? part / whole : null);
  return {
    rate: more("queries") / seconds, errors: more("errors") / seconds,
    latency: share(more("query_micros") / 1000, more("queries") - more("hits")), wait: share(more("wait_micros") / 1000, more("assignments")),
    ratio: pool.hits === null ? null : share(more("hits"), more("hits") + more("misses")),
  };
}

function button(act, database, title) {
  return el("button", { type: "button", "data-act": act, "data-on": database, "aria-label": `${title} ${database}` }, title);
}

function poolState(pool) {
  if (pool.trouble) return ["bad", "down"];
  if (pool.paused) return ["warn", "paused"];
  return pool.disabled ? ["warn", "disabled"] : null;
}

const poolActions = {
  name: "act", title: "Actions", number: true, cell: (td, pool) => {
    const wanted = session.admin ? `${pool.paused} ${pool.hits === null}` : "";
    if (td.dataset.shown === wanted) return;
    const focused = td.contains(document.activeElement) ? document.activeElement.dataset.act : null;
    td.dataset.shown = wanted;
    td.replaceChildren();
    if (!session.admin) return;
    const row = el("div", { class: "row" },
      pool.paused ? button("resume", pool.database, "Resume") : button("pause", pool.database, "Pause"),
      button("reconnect", pool.database, "Reconnect"));
    if (pool.hits !== null) row.append(button("flush", pool.database, "Flush"));
    td.append(row);
    if (focused) (row.querySelector(`[data-act=${focused}]`) ?? row.firstChild).focus({ preventScroll: true });
  },
};

const pools = new Table(find("pools-table"), {
  sort: ["rate", true], none: "No pool yet: the first client makes one.",
  columns: [
    { name: "database", title: "Database", head: true, key: (p) => p.id, cell: (th, p) => {
      const state = poolState(p);
      const wanted = `${p.id} ${state} ${p.trouble}`;
      if (th.dataset.shown === wanted) return;
      th.dataset.shown = wanted;
      th.replaceChildren(p.database, el("span", { class: "sub" }, ` as ${p.user}`));
      if (state) th.append(" ", el("span", { class: `pill ${state[0]}` }, state[1]));
      if (p.trouble) th.append(el("span", { class: "sub why" }, p.trouble));
    } },
    text("mode", "Mode", (p) => p.mode, { wide: true }),
    number("clients", "Clients", (p) => p.clients, count, { wide: true }),
    number("waiting", "Waiting", (p) => p.waiting, count, { mood: (p) => (p.waiting ? "warn" : "") }),
    { name: "servers", title: "Servers", number: false, key: (p) => p.servers_active, hint: "in use, and most", cell: (td, p) => {
      if (!td.firstChild) td.append(el("span", { class: "use" }, el("i", { "aria-hidden": "true" }, el("b"), el("u")), el("span")));
      const [bar, label] = td.firstChild.children;
      bar.children[0].style.width = `${Math.min(100, (100 * p.servers_active) / p.size)}%`;
      bar.children[1].style.width = `${Math.min(100, (100 * p.servers_idle) / p.size)}%`;
      setText(label, `${p.servers_active} of ${p.size}`);
    } },
    number("rate", "Queries/s", (p) => p.rates.rate, rate),
    number("latency", "Latency", (p) => p.rates.latency, millis, { hint: "mean, without waiting" }),
    number("wait", "Wait", (p) => p.rates.wait, millis, { wide: true, hint: "mean, for a server connection" }),
    number("errors", "Errors/s", (p) => p.rates.errors, rate, { wide: true, mood: (p) => (p.rates.errors > 0 ? "bad" : "") }),
    number("ratio", "Cache hits", (p) => p.rates.ratio, percent, { wide: true }),
    poolActions,
  ],
});

const hosts = new Table(find("hosts-table"), {
  sort: ["host", false], none: "No server yet.",
  columns: [
    { name: "host", title: "Server", head: true, key: (h) => h.id, cell: (th, h) => setText(th, h.id) },
    text("role", "Role", (h) => h.role),
    number("lag", "Lag", (h) => h.lag_seconds, (v) => millis(v * 1000)),
    { name: "breaker", title: "Circuit breaker", key: (h) => h.breaker, cell: (td, h) => {
      setText(td, h.breaker);
      td.classList.toggle("bad", h.breaker === "open");
      td.classList.toggle("warn", h.breaker === "half-open");
    } },
    number("failures", "Failures in a row", (h) => h.failures, count, { wide: true }),
    number("opened", "Opened", (h) => h.opened, count, { wide: true }),
    number("connecting", "Connecting", (h) => h.connecting, count),
  ],
});

const topEntries = new Table(find("cache-table"), {
  caption: "What is given most often", sort: ["hits", true], none: "Nothing is remembered yet.",
  columns: [
    text("statement", "Statement", (e) => e.statement, { kind: "code" }),
    text("database", "Database", (e) => e.database, { wide: true }),
    number("hits", "Hits", (e) => Number(e.hits), count),
    number("bytes", "Size", (e) => Number(e.bytes), bytes),
    number("age", "Age", (e) => Number(e.age), span, { wide: true }),
  ],
});

// Times are in microseconds.
const statements = new Table(find("statements-table"), {
  sort: ["total", true], none: "Nothing was asked yet.",
  columns: [
    text("query", "Statement", (s) => s.query, { kind: "code" }),
    text("database", "Database", (s) => s.database, { wide: true }),
    number("calls", "Calls", (s) => Number(s.calls), count),
    number("total", "Total", (s) => Number(s.total_time) / 1000, millis),
    number("mean", "Mean", (s) => Number(s.mean_time) / 1000, millis, { wide: true }),
    number("p95", "95 %", (s) => Number(s.p95_time) / 1000, millis),
    number("rows", "Rows", (s) => Number(s.rows), count, { wide: true }),
    number("hits", "From cache", (s) => (Number(s.calls) ? Number(s.cache_hits) / Number(s.calls) : null), percent, { wide: true }),
  ],
});

const clients = new Table(find("clients-table"), {
  none: "Nobody.",
  columns: [
    { name: "user", title: "User", head: true, cell: (th, c) => setText(th, c.user) },
    text("database", "Database", (c) => c.database, { unsorted: true }),
    text("application", "Application", (c) => c.application ?? "", { wide: true, unsorted: true }),
    { name: "state", title: "State", cell: (td, c) => {
      const mood = { waiting: "warn", active: "good" }[c.state] ?? "";
      if (td.textContent === c.state) return;
      td.replaceChildren(el("span", { class: `pill ${mood}` }, c.state));
    } },
    { name: "since", title: "For", number: true, cell: (td, c) => setText(td, millis(c.state_ms)) },
    text("address", "Address", (c) => c.address, { wide: true, unsorted: true }),
    text("tls", "TLS", (c) => (c.tls ? "yes" : "no"), { wide: true, unsorted: true }),
    { name: "connected", title: "Connected for", number: true, wide: true, cell: (td, c) => setText(td, span(Math.max(0, ((lastRow?.at ?? Date.now()) - c.connected) / 1000))) },
  ],
});

// --- showing -----------------------------------------------------------------

const STATES = { active: "good", paused: "warn", suspended: "warn", "shutting down": "bad" };

function show() {
  const now = lastRow?.at ?? 0;
  setText(find("state"), snapshot.state);
  find("state").className = `pill ${STATES[snapshot.state] ?? ""}`;
  document.title = snapshot.state === "active" ? "pgweir" : `pgweir: ${snapshot.state}`;
  setText(find("about"), `version ${snapshot.version}, up ${span(snapshot.uptime_seconds)}`);
  for (const tile of TILES) {
    const value = mean(tile.key);
    setText(tile.big, tile.show(value));
    setText(tile.note, tile.more(value));
    tile.node.dataset.mood = tile.mood?.(value) ?? "";
    spark(tile.spark, points, tile.key, now);
  }
  charts.forEach((chart) => chart.draw(points, now));
  const shownPools = snapshot.pools.map((pool) => ({ ...pool, id: `${pool.database} ${pool.user}`, rates: {} }));
  counted.push({ at: now, pools: new Map(shownPools.map((p) => [p.id, p])) });
  if (counted.length > 6) counted.shift();
  shownPools.forEach((pool) => { pool.rates = ratesOf(pool); });
  pools.fill(shownPools);
  const some = (shown, total, what) => (shown < total ? `the busiest ${shown} of ${count(total)}` : `${count(total)} ${what}${total === 1 ? "" : "s"}`);
  setText(find("pools-note"), some(snapshot.pools.length, snapshot.pools_total, "pool"));
  hosts.fill(snapshot.hosts.map((host) => ({ ...host, id: `${host.host}:${host.port}` })));
  setText(find("hosts-note"), some(snapshot.hosts.length, snapshot.hosts_total, "server"));
  find("cache-card").hidden = !snapshot.cache;
  if (snapshot.cache) {
    const { entries, bytes: used, max_bytes: most } = snapshot.cache;
    setText(find("cache-note"), `${count(entries)} answers, ${bytes(used)} of ${bytes(most)}; ${percent(mean("ratio"))} hits in the last seconds`);
    find("cache-fill").style.width = `${most ? Math.min(100, (100 * used) / most) : 0}%`;
  }
  if (snapshot.last_event !== lastEvent) showEvents(snapshot.last_event);
}

function took(next) {
  snapshot = next;
  add(named(next.columns, next.sample));
  alive();
  show();
}

async function showEvents(last) {
  lastEvent = last;
  const events = await quietly(get("log"));
  if (!events) return;
  const mood = { info: "", warn: "warn", error: "bad" };
  const rows = events.map((e) => {
    const at = new Date(e.at);
    return el("li", {}, el("time", { datetime: at.toISOString() }, at.toLocaleString([], { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit" })),
      el("span", { class: `pill ${mood[e.level]}` }, e.kind), el("span", {}, e.text));
  });
  find("events-list").replaceChildren(...(rows.length ? rows : [el("li", {}, el("span", { class: "note" }, "Nothing has happened."))]));
}

let searching = 0;
async function showClients() {
  const mine = ++searching;
  const search = encodeURIComponent(find("search-text").value.trim());
  const answer = await quietly(get(`clients?limit=50&search=${search}`));
  if (!answer || mine !== searching) return;
  clients.fill(answer.clients);
  const shown = answer.clients.length < answer.found ? `, the first ${answer.clients.length} shown` : "";
  setText(find("clients-note"), search ? `${count(answer.found)} of ${count(answer.total)} found${shown}` : `${count(answer.total)} connected${shown}`);
}

async function showTable(name, table, id) {
  const answer = await quietly(get(name));
  if (answer) table.fill(answer.rows.slice(0, 10).map((row) => named(answer.columns, row)).map((e, i) => ({ ...e, id: id(e, i) })));
}
const showTop = () => showTable("cache", topEntries, (e, i) => `${e.database} ${e.user} ${e.statement} ${i}`);
const showStatements = () => showTable("statements", statements, (e) => `${e.fingerprint} ${e.database} ${e.user}`);

// What the stream notices as well.
const quietly = (promise) => promise.catch(() => null);

const inSight = new Set();
const watcher = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) { inSight.add(target.id); refresh(true); } else inSight.delete(target.id);
  }
}, { rootMargin: "300px" });
["clients-table", "cache-table", "statements-table"].forEach((id) => watcher.observe(find(id)));

let ticks = 0;
function refresh(now) {
  if (!session.viewer || document.hidden || lost) return;
  ticks += 1;
  if (inSight.has("clients-table") && (now || ticks % 2 === 0)) showClients();
  if (inSight.has("cache-table") && snapshot?.cache && (now || ticks % 10 === 0)) showTop();
  if (inSight.has("statements-table") && (now || ticks % 5 === 0)) showStatements();
}
setInterval(refresh, 1000);

// --- the connection ----------------------------------------------------------

let lost = false;
let stop = null;
let waiting = null;
let tries = 0;

function alive() {
  tries = 0;
  find("live").dataset.live = "yes";
  setText(find("live"), "live");
  if (!lost) return;
  lost = false;
  find("lost").hidden = true;
  document.documentElement.classList.remove("stale");
  refresh(true);
}

function gone(error) {
  find("live").dataset.live = "no";
  setText(find("live"), "not connected");
  if (lost) return;
  lost = true;
  document.title = "No word from pgweir";
  const since = lastRow ? ` since ${new Date(lastRow.at).toLocaleTimeString()}` : "";
  setText(find("lost-why"), `${since}. What is shown is old; trying again.${error?.status ? ` (${error.message})` : ""}`);
  find("lost").hidden = false;
  document.documentElement.classList.add("stale");
}

// Reads on until the page is hidden; comes back when there is nobody.
async function connect() {
  clearTimeout(waiting);
  stop?.abort();
  const mine = new AbortController();
  stop = mine;
  try {
    await enter();
    if (!session.viewer || mine.signal.aborted) return;
    const history = await get("history", AbortSignal.any([mine.signal, AbortSignal.timeout(8000)]));
    points = [];
    lastRow = null;
    counted.length = 0;
    lastEvent = -1;
    history.rows.forEach((row) => add(named(history.columns, row)));
    await follow(took, mine.signal);
  } catch (error) {
    if (mine.signal.aborted) return;
    if (error instanceof Refused && error.status === 503) return poll(mine);
    // The stream ends from time to time by itself: only if nobody is there then, that is news.
    if (error instanceof Refused ? error.status !== 401 : tries > 0 || !(await quietly(get("session")))) gone(error);
    tries += 1;
    waiting = setTimeout(connect, Math.min(5000, 500 * tries));
  }
}

// There are too many pages for one more stream.
async function poll(mine) {
  const next = await quietly(get("snapshot"));
  if (mine.signal.aborted) return;
  if (!next) { gone(); waiting = setTimeout(connect, 2000); return; }
  took(next);
  setText(find("live"), "every 5 s");
  waiting = setTimeout(() => poll(mine), 5000);
}

async function enter() {
  session = await get("session");
  find("enter").hidden = session.admin || !session.admin_password || !session.viewer;
  find("leave").hidden = !session.admin && !(session.viewer && session.password);
  find("all-actions").hidden = !session.admin;
  find("statements-card").hidden = !session.tables.includes("statements");
  setText(find("rights"), session.admin ? "You may pause, resume, reconnect and flush."
    : session.admin_password ? "You may look. To pause, resume, reconnect or flush, log in with [http] admin_password."
      : "You may look. Nobody may pause, resume, reconnect or flush from here, because [http] admin_password is not set.");
  if (!session.viewer) {
    stop?.abort();
    askPassword("What [http] password or admin_password says in its configuration.", true, connect);
  } else if (document.documentElement.classList.contains("gate")) stopAsking();
  if (snapshot && session.viewer) show();
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) { stop?.abort(); clearTimeout(waiting); } else connect();
});
find("retry").addEventListener("click", () => { tries = 1; connect(); });

// --- what people do ----------------------------------------------------------

find("enter").addEventListener("click", () => askPassword("The admin's: [http] admin_password.", false, connect));
find("leave").addEventListener("click", async () => {
  await quietly(post("logout"));
  say("logged out");
  connect();
});
document.addEventListener("click", (event) => {
  const act = event.target.closest?.("[data-act]");
  if (act) confirm(act.dataset.act, act.dataset.on ?? null, () => {});
});

let typed;
find("search").addEventListener("submit", (event) => event.preventDefault());
find("search-text").addEventListener("input", () => { clearTimeout(typed); typed = setTimeout(showClients, 200); });
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, dialog");
  if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  find("search-text").focus();
});

const THEMES = ["auto", "light", "dark"];
function theme(name) {
  document.documentElement.dataset.theme = name;
  setText(find("theme"), `Theme: ${name}`);
  try { localStorage.setItem("pgweir-theme", name); } catch { /* It is forgotten, then. */ }
}
let kept = null;
try { kept = localStorage.getItem("pgweir-theme"); } catch { /* There is none. */ }
theme(THEMES.includes(kept) ? kept : "auto");
find("theme").addEventListener("click", () => theme(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % 3]));

connect();
