// The page's script. Nothing that comes from a client becomes markup: text goes
// in by `textContent`, and there is no other way in.
"use strict";

const STATES = ["new", "active", "idle", "hijacked"];
const BUCKETS = ["1s", "5s", "15s", "1m", "5m", "15m", "1h", "4h", "1d", "more"];
const ROWS_EVERY = 2000;

const $ = (id) => document.getElementById(id);

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function setText(element, text) {
  text = String(text);
  if (element.textContent !== text) element.textContent = text;
}

// === Numbers in words ===

const grouped = new Intl.NumberFormat("en");
const number = (n) => grouped.format(n);

function short(n) {
  if (n < 10000) return number(n);
  if (n < 1e6) return (n / 1e3).toFixed(n < 1e5 ? 1 : 0) + "k";
  return (n / 1e6).toFixed(n < 1e8 ? 1 : 0) + "M";
}

function time(seconds) {
  const s = Math.floor(seconds);
  if (s < 10) return seconds.toFixed(1) + "s";
  if (s < 60) return s + "s";
  if (s < 3600) return Math.floor(s / 60) + "m " + (s % 60) + "s";
  if (s < 86400) return Math.floor(s / 3600) + "h " + (Math.floor(s / 60) % 60) + "m";
  return Math.floor(s / 86400) + "d " + (Math.floor(s / 3600) % 24) + "h";
}

function bytes(n) {
  if (n === null) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (n >= 1000 && unit < units.length - 1) {
    n /= 1000;
    unit += 1;
  }
  return (unit && n < 100 ? n.toFixed(1) : Math.round(n)) + " " + units[unit];
}

// What would turn the text around it about, or hide, is shown as a box.
const printable = (text) =>
  text.replace(/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g, "\ufffd");

// === The numbers ===

function showSummary(summary) {
  const states = summary.states;
  setText($("open"), number(summary.open));
  setText($("open-sub"), `${number(states.active)} active, ${number(states.idle)} idle`);
  // One second alone is mostly chance.
  const rate = (points) => {
    const last = points.slice(-10);
    const mean = last.reduce((sum, point) => sum + point, 0) / (last.length || 1);
    return mean && mean < 10 ? mean.toFixed(1) : number(Math.round(mean));
  };
  setText($("accepted-rate"), rate(summary.history.accepted));
  setText($("accepted-sub"), `${number(summary.accepted)} in all`);
  setText($("closed-rate"), rate(summary.history.closed));
  setText($("closed-sub"), `${number(summary.closed)} in all`);
  setText($("uptime"), time(summary.uptime));
  setText($("version"), summary.version);
  const listeners = summary.listeners.map((listener) => printable(listener.address));
  setText($("listeners"), listeners.slice(0, 3).join(", ") + (listeners.length > 3 ? ", …" : ""));
  spark("open", summary.history.open, "open connections");
  spark("accepted", summary.history.accepted, "accepted connections a second");
  spark("closed", summary.history.closed, "closed connections a second");
  showProtocols(summary);
  showHistogram($("ages"), summary.ages.counts);
  showHistogram($("idle"), summary.idle.counts);
  showPeers(summary);
  showReasons(summary);
  document.title = `${short(summary.open)} connections`;
}

// The last minute as an area, the present at the right.
function spark(name, points, label) {
  const svg = $("spark-" + name);
  const most = Math.max(1, ...points);
  svg.setAttribute("aria-label", points.length
    ? `${label} in the last minute: now ${points[points.length - 1]}, at most ${Math.max(...points)}`
    : `${label}: nothing known yet`);
  if (!svg.firstChild) {
    for (const kind of ["area", "line"]) {
      const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
      path.setAttribute("class", kind);
      svg.append(path);
    }
  }
  const x = (index) => 240 - ((points.length - 1 - index) * 240) / 59;
  const y = (value) => 46 - (value * 42) / most;
  const line = points.map((value, i) => `${i ? "L" : "M"}${x(i).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  const [area, stroke] = svg.children;
  stroke.setAttribute("d", line);
  area.setAttribute("d", line && `${line}L240 48L${x(0).toFixed(1)} 48Z`);
}

function showProtocols(summary) {
  const body = $("protocols").tBodies[0];
  const lines = [...Object.entries(summary.protocols), ["all", summary.states]];
  if (body.rows.length !== lines.length) {
    body.replaceChildren(...lines.map(([name], index) => {
      const row = make("tr", index === lines.length - 1 ? "sum" : "");
      const head = make("th", "", name);
      head.scope = "row";
      row.append(head, ...STATES.map(() => make("td")));
      return row;
    }));
  }
  lines.forEach(([, counts], index) => {
    STATES.forEach((state, column) => {
      const cell = body.rows[index].cells[column + 1];
      setText(cell, number(counts[state]));
      cell.classList.toggle("zero", counts[state] === 0);
    });
  });
  [...$("bar").children].forEach((part, index) => {
    part.style.flexGrow = summary.states[STATES[index]];
  });
}

function showHistogram(list, counts) {
  if (!list.children.length) {
    list.append(...BUCKETS.map((label, index) => {
      const item = make("li");
      const name = make("span", "label", label);
      const last = index === BUCKETS.length - 1;
      item.append(make("span", "count"), make("i", "column"), name);
      item.title = last ? "longer than a day" : `up to ${label}`;
      return item;
    }));
  }
  const most = Math.max(1, ...counts);
  [...list.children].forEach((item, index) => {
    const [count, column] = item.children;
    setText(count, short(counts[index]));
    column.style.height = `${((counts[index] / most) * 96).toFixed(1)}px`;
    item.classList.toggle("none", counts[index] === 0);
  });
}

// Lists of names with bars behind them; `named` makes a name's element.
function showRanking(list, entries, named) {
  const most = Math.max(1, ...entries.map((entry) => entry.count));
  if (!entries.length) {
    list.replaceChildren(make("li", "empty", "none yet"));
    return;
  }
  while (list.children.length > entries.length) list.lastChild.remove();
  entries.forEach((entry, index) => {
    let item = list.children[index];
    if (!item || item.dataset.name !== entry.name) {
      const fresh = make("li");
      fresh.dataset.name = entry.name;
      fresh.append(make("i", "share"), named(entry), make("b"));
      if (item) item.replaceWith(fresh);
      else list.append(fresh);
      item = fresh;
    }
    item.firstChild.style.width = `${(entry.count / most) * 100}%`;
    setText(item.lastChild, number(entry.count));
  });
}

function showPeers(summary) {
  setText($("distinct-peers"), summary.distinct_peers > 1 ? `${number(summary.distinct_peers)} addresses` : "");
  const entries = summary.peers.map(({ peer, connections }) => ({ name: peer, count: connections }));
  showRanking($("peers"), entries, (entry) => {
    if (!/^[0-9a-f.:]+$/.test(entry.name)) return make("span", "name mono", printable(entry.name));
    const button = make("button", "name", entry.name);
    button.type = "button";
    button.title = "show the connections of this peer";
    button.addEventListener("click", () => {
      filter.elements.peer.value = entry.name;
      filtersChanged();
    });
    return button;
  });
}

function showReasons(summary) {
  const ended = summary.reasons.reduce((sum, reason) => sum + reason.count, 0);
  setText($("ended"), ended ? number(ended) : "");
  const entries = summary.reasons.map(({ reason, count }) => ({ name: reason, count }));
  showRanking($("reasons"), entries, (entry) => make("span", "name", entry.name));
}

// === The event stream ===

let source = null;
let paused = false;
let retry = 0;
let closedSeen = -1;

function setLive(state, text) {
  $("live").dataset.live = state;
  setText($("live"), text || state);
}

function connect() {
  disconnect();
  setLive("connecting");
  source = new EventSource("?format=events");
  source.onmessage = (event) => {
    const summary = JSON.parse(event.data);
    notice("");
    setLive(summary.draining ? "draining" : "live");
    receive(summary);
  };
  source.onerror = () => {
    if (source.readyState !== EventSource.CLOSED) {
      if ($("live").dataset.live !== "draining") setLive("lost", "reconnecting");
      return;
    }
    // Refused: eight others look. The same numbers, less often.
    setLive("connecting", "polling");
    poll();
    retry = setTimeout(connect, 5000);
  };
}

function disconnect() {
  clearTimeout(retry);
  if (source) source.close();
  source = null;
}

async function poll() {
  try {
    const answer = await fetch("?format=json&show=summary");
    if (!answer.ok) throw new Error((await answer.text()).trim());
    receive((await answer.json()).summary);
  } catch (error) {
    setLive("lost");
    notice(error.message);
  }
}

function receive(summary) {
  showSummary(summary);
  if (summary.closed !== closedSeen) {
    closedSeen = summary.closed;
    closedStale = true;
  }
}

function notice(text) {
  $("notice").hidden = !text;
  setText($("notice"), text);
}

// === The rows ===

const filter = $("filter");
let sort = "-age";
let pages = [];          // the `after` of each page before this one and of this one
let after = "";
let rowsTimer = 0;
let rowsAsked = 0;
let closedStale = true;

function parameters() {
  const values = new URLSearchParams();
  const states = [...filter.querySelectorAll("[name=state]:checked")].map((box) => box.value);
  if (states.length) values.set("state", states.join(","));
  for (const name of ["protocol", "peer", "min_age", "idle_for", "limit"]) {
    const value = filter.elements[name].value.trim();
    if (value) values.set(name, value);
  }
  values.set("sort", sort);
  return values;
}

async function loadRows() {
  clearTimeout(rowsTimer);
  rowsAsked += 1;
  const asked = rowsAsked;
  const values = parameters();
  history.replaceState(null, "", "#" + values);
  if (after) values.set("after", after);
  values.set("format", "json");
  values.set("show", "rows");
  try {
    const answer = await fetch("?" + values);
    if (asked !== rowsAsked) return;
    if (answer.ok) {
      showRows(await answer.json());
      filterError("");
    } else if (answer.status === 410 && after) {
      return firstPage();
    } else {
      filterError((await answer.text()).trim());
    }
  } catch {
    // The server is gone: the badge says so.
  }
  if (closedStale && !paused) await loadClosed();
  if (asked === rowsAsked) scheduleRows();
}

function scheduleRows() {
  clearTimeout(rowsTimer);
  if (!paused && !document.hidden) rowsTimer = setTimeout(loadRows, ROWS_EVERY);
}

async function loadClosed() {
  closedStale = false;
  try {
    const answer = await fetch("?format=json&show=closed");
    if (answer.ok) showClosed((await answer.json()).closed);
  } catch {
    closedStale = true;
  }
}

function filterError(text) {
  $("filter-error").hidden = !text;
  setText($("filter-error"), text);
  for (const name of ["peer", "min_age", "idle_for"]) {
    if (text.startsWith("`" + name + "`")) filter.elements[name].setAttribute("aria-invalid", "true");
    else filter.elements[name].removeAttribute("aria-invalid");
  }
}

function showRows(answer) {
  const { rows, matched, next, columns, own, actions } = answer;
  $("all-actions").hidden = !actions;
  const head = $("rows").tHead.rows[0];
  const extra = [...columns, ...(actions ? [""] : [])];
  while (head.cells.length > 8 + extra.length) head.lastChild.remove();
  extra.forEach((name, index) => {
    let cell = head.cells[8 + index];
    if (!cell) {
      cell = make("th");
      cell.scope = "col";
      head.append(cell);
    }
    setText(cell, printable(name));
    if (!name) cell.setAttribute("aria-label", "actions");
  });
  const cells = rows.map((row) => ({
    key: row.id,
    cells: [
      { label: "Id", className: "mono", text: row.id, tag: row.id === own ? "this page" : "" },
      { label: "Peer", className: "mono peer", text: printable(row.peer), title: `${printable(row.peer)} → ${printable(row.local)}` },
      { label: "State", badge: row.state, tag: row.draining ? "draining" : "" },
      { label: "For", className: "number", text: time(row.state_for) },
      { label: "Age", className: "number", text: time(row.age) },
      { label: "Protocol", text: row.tls ? `${row.protocol}, TLS ${row.tls}` : row.protocol },
      { label: "Requests", className: "number", text: number(row.requests) },
      { label: "Received", className: "number", text: bytes(row.bytes_received) },
      ...row.more.map((value, index) => ({ label: printable(columns[index]), text: value === null ? "–" : printable(value) })),
      ...(actions ? [{ className: "does", actions: row.id }] : []),
    ],
  }));
  showTable($("rows"), cells, "no connection matches");
  const start = pages.reduce((sum, page) => sum + page.length, 0);
  setText($("matched"), number(matched));
  setText($("range"), rows.length ? `${number(start + 1)}–${number(start + rows.length)} of ${number(matched)}` : "");
  $("first").disabled = $("previous").disabled = !after;
  $("next").disabled = next === null;
  shown = { next, length: rows.length };
}

let shown = { next: null, length: 0 };

const GOOD = /^(closed by the peer|closed by the server|drained|idle for too long|reached its maximum)/;

function showClosed(closed) {
  setText($("closed-count"), closed.length === 256 ? "the last 256" : number(closed.length));
  const cells = closed.map((conn) => ({
    key: conn.id,
    cells: [
      { label: "Id", className: "mono", text: conn.id },
      { label: "Peer", className: "mono peer", text: printable(conn.peer), title: printable(conn.peer) },
      { label: "Was", badge: conn.state },
      { label: "Ago", className: "number", text: time(conn.closed_ago) },
      { label: "Lasted", className: "number", text: time(conn.lasted) },
      { label: "Protocol", text: conn.protocol },
      { label: "Requests", className: "number", text: number(conn.requests) },
      { label: "Why", className: GOOD.test(conn.reason) ? "why good" : "why bad", text: conn.reason },
    ],
  }));
  showTable($("closed"), cells, "none has closed yet");
}

// A row that is there already stays the same element, so that a pointer or the
// keyboard's focus on it does not lose it.
function showTable(table, rows, nothing) {
  const body = table.tBodies[0];
  if (!rows.length) {
    const cell = make("td", "nothing", nothing);
    cell.colSpan = 20;
    const row = make("tr");
    row.append(cell);
    body.replaceChildren(row);
    return;
  }
  const known = new Map([...body.rows].map((row) => [row.dataset.key, row]));
  let place = body.firstChild;
  for (const { key, cells } of rows) {
    let row = known.get(String(key));
    if (row && row.cells.length !== cells.length) row = undefined;
    if (!row) {
      row = make("tr");
      row.dataset.key = key;
      row.append(...cells.map((cell) => {
        const made = make("td", cell.className);
        if (cell.label) made.dataset.label = cell.label;
        return made;
      }));
    }
    cells.forEach((cell, index) => fill(row.cells[index], cell));
    if (row === place) place = place.nextSibling;
    else body.insertBefore(row, place);
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

function fill(element, cell) {
  const content = [cell.text, cell.badge, cell.tag, cell.title, cell.actions].join("\n");
  if (element.dataset.content === content) return;
  element.dataset.content = content;
  if (cell.title) element.title = cell.title;
  if (cell.actions !== undefined) {
    element.replaceChildren(
      actionButton("Drain", { action: "drain", id: cell.actions }),
      actionButton("Close", { action: "close", id: cell.actions }),
    );
    return;
  }
  const parts = [cell.badge ? make("span", `badge ${cell.badge}`, cell.badge) : make("span", "", cell.text)];
  if (cell.tag) parts.push(make("span", "tag", cell.tag));
  element.replaceChildren(...parts);
}

// === Pages, filters, sorting ===

function firstPage() {
  pages = [];
  after = "";
  return loadRows();
}

const filtersChanged = () => firstPage();

$("next").addEventListener("click", () => {
  if (shown.next === null) return;
  pages.push({ after, length: shown.length });
  after = String(shown.next);
  loadRows();
});
$("previous").addEventListener("click", () => {
  const page = pages.pop();
  after = page ? page.after : "";
  loadRows();
});
$("first").addEventListener("click", firstPage);

let typing = 0;
filter.addEventListener("input", (event) => {
  clearTimeout(typing);
  typing = setTimeout(filtersChanged, event.target.type === "text" ? 350 : 0);
});
filter.addEventListener("submit", (event) => {
  event.preventDefault();
  filtersChanged();
});
filter.addEventListener("reset", () => setTimeout(filtersChanged, 0));

for (const head of document.querySelectorAll("th[data-sort]")) {
  head.firstElementChild.addEventListener("click", () => {
    const by = head.dataset.sort;
    const descends = ["id", "peer", "state", "protocol"].includes(by) ? "" : "-";
    if (sort === descends + by) sort = descends ? by : "-" + by;
    else sort = descends + by;
    showSort();
    firstPage();
  });
}

function showSort() {
  for (const head of document.querySelectorAll("th[data-sort]")) {
    if (sort.replace("-", "") !== head.dataset.sort) head.removeAttribute("aria-sort");
    else head.setAttribute("aria-sort", sort.startsWith("-") ? "descending" : "ascending");
  }
}

// What the address bar says, so that a view can be passed on.
function restore() {
  const values = new URLSearchParams(location.hash.slice(1));
  for (const box of filter.querySelectorAll("[name=state]")) {
    box.checked = (values.get("state") || "").split(",").includes(box.value);
  }
  for (const name of ["protocol", "peer", "min_age", "idle_for", "limit"]) {
    if (values.has(name)) filter.elements[name].value = values.get(name);
  }
  const known = [...document.querySelectorAll("th[data-sort]")].map((head) => head.dataset.sort);
  const by = values.get("sort") || sort;
  if (known.includes(by.replace(/^-/, ""))) sort = by;
  if (!filter.elements.limit.value) filter.elements.limit.value = "25";
}

// === Actions ===

async function act(action) {
  try {
    const answer = await fetch("", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(action),
    });
    notice(answer.ok ? "" : (await answer.text()).trim());
  } catch {
    notice("the server did not answer");
  }
  loadRows();
}

// It asks once: the second click within three seconds acts.
function arm(button, action) {
  const label = button.textContent;
  let timer = 0;
  button.addEventListener("click", () => {
    clearTimeout(timer);
    const sure = button.classList.toggle("sure");
    setText(button, sure ? "Sure?" : label);
    if (!sure) return act(action);
    timer = setTimeout(() => {
      button.classList.remove("sure");
      setText(button, label);
    }, 3000);
  });
}

function actionButton(label, action) {
  const button = make("button", "danger", label);
  button.type = "button";
  button.setAttribute("aria-label", `${label} connection ${action.id}`);
  arm(button, action);
  return button;
}

arm($("close-idle"), { action: "close_idle" });
arm($("drain-all"), { action: "drain_all" });

// === Now ===

$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  setText($("pause"), paused ? "Resume" : "Pause");
  lookOrNot();
});
document.addEventListener("visibilitychange", lookOrNot);

// A page that nobody sees asks for nothing.
function lookOrNot() {
  if (paused || document.hidden) {
    disconnect();
    clearTimeout(rowsTimer);
    setLive("paused");
  } else {
    connect();
    loadRows();
  }
}

restore();
showSort();
lookOrNot();
