// Containers as they are now, from `containers` each two seconds and whenever `events` tells of
// something. Every text goes into the page as text (textContent): none is ever taken for markup.
"use strict";

const POLL = 2000, AGAIN = 15000, SOON = 150;  // milliseconds
const SPAN = 60;                               // seconds that a line shows
const MOST_ROWS = 300, MOST_EVENTS = 100;
const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 100, HEIGHT = 30;

const byId = (id) => document.getElementById(id);
const rows = new Map();
const past = new Map();                        // id → what it used, at which times
let latest = null, sort = "name", timer = 0, source = null, asking = false, askedAt = 0;

function make(tag, kind = "", text = "") {
  const made = document.createElement(tag);
  if (kind) made.className = kind;
  if (text) made.textContent = text;
  return made;
}

function put(parent, ...children) {
  parent.append(...children);
  return parent;
}

// A text that has not changed is left alone: people may be selecting it.
function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// --- words --------------------------------------------------------------------------------------

function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (bytes >= 1000 && at < units.length - 1) { bytes /= 1024; at += 1; }
  return `${bytes >= 9.95 || at === 0 ? Math.round(bytes) : Number(bytes.toFixed(1))} ${units[at]}`;
}

function percent(part) {
  return `${(100 * part).toFixed(part >= 0.0005 && part < 0.0995 ? 1 : 0)} %`;
}

function ago(seconds) {
  seconds = Math.max(0, Math.round(seconds));
  for (const [length, unit] of [[86400, "d"], [3600, "h"], [60, "min"]])
    if (seconds >= length) return `${Math.floor(seconds / length)} ${unit}`;
  return `${seconds} s`;
}

const SIGNALS = { 1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 6: "SIGABRT", 7: "SIGBUS",
  8: "SIGFPE", 9: "SIGKILL", 11: "SIGSEGV", 13: "SIGPIPE", 15: "SIGTERM" };

function ending(end) {
  const words = {
    completed: "done",
    error: `failed, exit code ${end.code}`,
    signal: `killed by ${SIGNALS[end.signal] || `signal ${end.signal}`}`,
    oom_killed: "out of memory",
    stopped: `stopped, exit code ${end.code}`,
    health: "ended for its health check",
    start_failed: `could not start, exit code ${end.code}`,
    lost: "lost",
  };
  return words[end.reason] || `${end.reason}, exit code ${end.code}`;
}

const isBad = (end) => end && !["completed", "stopped"].includes(end.reason);

function badge(one) {
  if (one.state === "running" && one.healthy === false) return ["warn", "not healthy"];
  if (one.state === "running") return ["good", one.healthy ? "healthy" : "running"];
  if (["exited", "created"].includes(one.state) && isBad(one.end)) return ["bad", one.state];
  if (one.state === "dead") return ["bad", "dead"];
  if (one.state === "restarting" || one.state === "paused") return ["warn", one.state];
  return ["", one.state];
}

// --- what is kept of the last minutes -----------------------------------------------------------

function remember(one, at) {
  let kept = past.get(one.id);
  if (!kept || kept.started !== one.started) {
    kept = { started: one.started, points: [], waited: null };
    past.set(one.id, kept);
  }
  if (one.history) {
    const h = one.history;
    kept.points = h.at.map((time, i) => ({ at: time, cpu: h.cpu[i], memory: h.memory[i],
      received: h.received[i], sent: h.transmitted[i] }));
  }
  const now = one.now;
  if (!now) {
    kept.points = [];
    kept.waited = null;
    return kept;
  }
  if (now.cpu !== undefined) {
    const newest = kept.points.at(-1);
    if (!newest || at > newest.at)
      kept.points.push({ at, cpu: now.cpu, memory: now.memory, received: now.received, sent: now.transmitted });
  }
  kept.points = kept.points.filter((point) => point.at > at - SPAN);
  const before = kept.waited, part = (key) => {
    const [then, value] = [before.pressure[key], now.pressure[key]];
    return value === undefined || then === undefined ? null : Math.max(0, (value - then) / (at - before.at));
  };
  if (before && at - before.at >= 0.9) {
    kept.waits = { cpu: part("cpu"), memory: part("memory"), io: part("io") };
    const periods = now.periods - before.periods;
    kept.throttled = periods > 0 ? (now.throttled_periods - before.throttled_periods) / periods : 0;
  }
  if (!before || at - before.at >= 0.9)
    kept.waited = { at, pressure: now.pressure, periods: now.periods, throttled_periods: now.throttled_periods };
  return kept;
}

// --- lines --------------------------------------------------------------------------------------

class Spark {
  constructor(...kinds) {
    this.node = document.createElementNS(SVG, "svg");
    this.node.setAttribute("class", "spark");
    this.node.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    this.node.setAttribute("preserveAspectRatio", "none");
    this.node.setAttribute("aria-hidden", "true");
    this.limit = this.path("limit");
    this.lines = kinds.map((kind) => [this.path(`area ${kind}`), this.path(`line ${kind}`)]);
  }

  path(kind) {
    const made = document.createElementNS(SVG, "path");
    made.setAttribute("class", kind);
    this.node.append(made);
    return made;
  }

  // `series`: lists of [seconds, value]; `top` is at least at the upper edge.
  draw(series, now, top, limit = 0) {
    const most = Math.max(top, ...series.flat().map((point) => point[1]));
    const x = (at) => (WIDTH * (1 - (now - at) / SPAN)).toFixed(1);
    const y = (value) => (HEIGHT - 1 - (HEIGHT - 3) * value / most).toFixed(1);
    this.limit.setAttribute("d", limit && limit <= most ? `M0 ${y(limit)}H${WIDTH}` : "");
    series.forEach((points, i) => {
      const line = points.map(([at, value]) => `${x(at)} ${y(value)}`).join("L");
      const [area, stroke] = this.lines[i];
      stroke.setAttribute("d", points.length > 1 ? `M${line}` : "");
      area.setAttribute("d", points.length > 1
        ? `M${x(points[0][0])} ${HEIGHT}L${line}L${x(points.at(-1)[0])} ${HEIGHT}Z` : "");
    });
  }
}

// --- rows ---------------------------------------------------------------------------------------

class Row {
  constructor() {
    this.node = make("tr", "container");
    this.name = make("div", "name");
    this.image = make("div", "small");
    this.badge = make("span", "badge");
    this.detail = make("div", "small");
    this.cpu = this.figure("cpu");
    this.memory = this.figure("memory");
    this.network = this.figure("received", "sent");
    this.network.value.className = "received-text";
    this.network.note.className = "sent-text";
    const waits = make("dl", "waits");
    this.waits = ["cpu", "memory", "io"].map((key) => {
      const value = make("dd");
      put(waits, make("dt", "", key === "io" ? "disks" : key === "cpu" ? "CPU" : "memory"), value);
      return [key, value];
    });
    const waiting = this.cell("waiting", "Waiting for", waits);
    put(this.node, this.cell("who", "", this.name, this.image), this.cell("status", "", this.badge, this.detail),
      ...[["CPU", this.cpu], ["Memory", this.memory], ["Network, per second", this.network]].map(([label, figure]) =>
        this.cell("figures", label, put(make("div", "figure"), figure.value, figure.note), figure.spark.node)),
      waiting);
  }

  figure(...kinds) {
    return { value: make("span"), note: make("span", "small"), spark: new Spark(...kinds) };
  }

  cell(kind, label, ...children) {
    const made = put(make("td", kind), ...children);
    if (label) made.dataset.label = label;
    return made;
  }

  show(one, kept, at, cpus) {
    const now = one.now, points = kept.points;
    this.node.classList.toggle("idle", !now);
    say(this.name, one.name);
    say(this.image, one.image);
    this.node.cells[0].title = `${one.name}\n${one.image}\n${one.id.slice(0, 12)}`;
    const [kind, word] = badge(one);
    this.badge.className = `badge ${kind}`;
    say(this.badge, word);
    say(this.detail, this.story(one, at));
    const used = now && now.cpu !== undefined;
    say(this.cpu.value, used ? percent(now.cpu) : now ? "…" : "–");
    const limit = one.limits.cpus;
    const throttled = now && kept.throttled > 0.005;
    this.cpu.note.className = throttled ? "small throttled" : "small";
    say(this.cpu.note, throttled ? `throttled ${Math.round(100 * kept.throttled)} %`
      : limit && now ? `of ${Math.round(100 * limit)} %` : "");
    this.cpu.spark.draw([points.map((p) => [p.at, p.cpu])], at, limit || 0.25, limit);
    const most = one.limits.memory;
    say(this.memory.value, now && now.memory !== null ? size(now.memory) : "–");
    say(this.memory.note, most && now ? `of ${size(most)}` : "");
    this.memory.spark.draw([points.map((p) => [p.at, p.memory])], at, most || 8 << 20, most);
    say(this.network.value, used ? `↓ ${size(now.received)}` : "–");
    say(this.network.note, used ? `↑ ${size(now.transmitted)}` : "");
    this.network.spark.draw([points.map((p) => [p.at, p.received]), points.map((p) => [p.at, p.sent])], at, 2048);
    for (const [key, node] of this.waits) {
      const part = now && kept.waits ? kept.waits[key] : null;
      say(node, part === null ? "–" : percent(part));
      node.className = part >= 0.4 ? "much" : part >= 0.1 ? "some" : "";
    }
  }

  story(one, at) {
    const parts = [];
    if (one.now && one.started) parts.push(`for ${ago(at - one.started)}`);
    if (one.restarts) parts.push(`restarted ${one.restarts}×`);
    if (one.end) {
      const when = one.end.at ? `, ${ago(at - one.end.at)} ago` : "";
      parts.push(one.now ? `before: ${ending(one.end)}` : `${ending(one.end)}${when}`);
    }
    if (one.oom_kills && (!one.end || one.end.reason !== "oom_killed")) parts.push(`${one.oom_kills} OOM kills`);
    return parts.join(" · ");
  }
}

const RANK = { running: 0, paused: 1, restarting: 2, created: 4, removing: 5 };
const KEYS = {
  name: () => 0,
  state: (one) => RANK[one.state] ?? 3,
  cpu: (one) => -(one.now?.cpu ?? -1),
  memory: (one) => -(one.now?.memory ?? -1),
  network: (one) => -((one.now?.received ?? -1) + (one.now?.transmitted ?? 0)),
  pressure: (one) => -Math.max(...Object.values((one.now && past.get(one.id)?.waits) || { none: -1 })),
};

function draw() {
  if (!latest) return;
  const wanted = byId("filter").value.trim().toLowerCase();
  const only = byId("running").checked;
  const found = latest.containers.filter((one) => (!only || one.now)
    && [one.name, one.image, badge(one)[1]].some((text) => text.toLowerCase().includes(wanted)));
  found.sort((a, b) => KEYS[sort](a) - KEYS[sort](b) || a.name.localeCompare(b.name, "en", { numeric: true }));
  const shown = found.slice(0, MOST_ROWS), body = byId("containers");
  shown.forEach((one, place) => {
    if (!rows.has(one.id)) rows.set(one.id, new Row());
    const row = rows.get(one.id);
    row.show(one, past.get(one.id), latest.at, latest.cpus);
    if (body.children[place] !== row.node) body.insertBefore(row.node, body.children[place] || null);
  });
  while (body.children.length > shown.length) body.lastChild.remove();
  const left = found.length - shown.length;
  byId("nothing").hidden = shown.length > 0 && !left;
  say(byId("nothing"), left ? `${left} more are not shown: filter, or sort by another column.`
    : latest.containers.length ? "No container is like that." : "There is no container yet.");
  const running = latest.containers.filter((one) => one.now).length;
  const host = latest.memory ? ` · ${latest.cpus} CPUs, ${size(latest.memory)} of memory` : "";
  say(byId("host"), `${running} running of ${latest.containers.length}${host}`);
  document.title = `Orlop · ${running} running`;
}

// --- asking -------------------------------------------------------------------------------------

function state(kind, text) {
  byId("link").className = kind;
  say(byId("link-text"), text);
}

async function ask() {
  clearTimeout(timer);
  if (asking || document.hidden) return;
  asking = true;
  const fresh = !latest || Date.now() - askedAt > 5 * POLL;  // what is kept has a gap
  let wait = POLL;
  try {
    const answer = await fetch(fresh ? "containers?history" : "containers", { cache: "no-store" });
    if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
    latest = await answer.json();
    askedAt = Date.now();
    const there = new Set(latest.containers.map((one) => one.id));
    for (const map of [rows, past])
      for (const id of map.keys()) if (!there.has(id)) map.delete(id);
    for (const one of latest.containers) remember(one, latest.at);
    draw();
    state("live", "live");
  } catch (error) {
    wait = 2 * POLL;
    state("lost", `no answer (${error.message}); trying again`);
  } finally {
    asking = false;
    timer = setTimeout(ask, wait);
  }
}

function soon() {
  clearTimeout(timer);
  timer = setTimeout(ask, SOON);
}

const TONES = { start: "good", oom: "bad", die: "warn", kill: "warn", destroy: "" };

function told(event) {
  const item = make("li"), what = make("span");
  const time = make("time", "", new Date(event.time_ns / 1e6).toLocaleTimeString([], { hour12: false }));
  time.dateTime = new Date(event.time_ns / 1e6).toISOString();
  let words = event.type === "container" ? event.action : `${event.type} ${event.action}`;
  let tone = TONES[event.action] || "";
  if (event.action === "die") {
    words = `died, exit code ${event.exitCode}`;
    tone = event.exitCode === "0" ? "" : "bad";
  }
  if (event.action === "kill") words = `sent signal ${event.signal}`;
  if (event.action === "oom") words = "out of memory";
  if (event.action === "rename") words = `renamed from ${(event.oldName || "").replace(/^\//, "")}`;
  if (event.action === "health_status: unhealthy") tone = "bad";
  put(what, make("b", "", event.name || event.id.slice(0, 19)), " ", make("span", tone, words));
  put(item, time, what);
  byId("events").prepend(item);
  while (byId("events").children.length > MOST_EVENTS) byId("events").lastChild.remove();
  byId("quiet").hidden = true;
}

function follow() {
  source?.close();
  source = null;
  if (document.hidden) return;
  byId("events").replaceChildren();
  source = new EventSource("events");
  source.onmessage = (message) => {
    told(JSON.parse(message.data));
    soon();
  };
  source.onerror = () => {  // by itself it tries again, but not where it was refused
    if (source?.readyState === EventSource.CLOSED) setTimeout(follow, AGAIN);
  };
}

// A page that nobody sees asks for nothing.
document.addEventListener("visibilitychange", () => { follow(); ask(); });
byId("tools").addEventListener("submit", (event) => event.preventDefault());
byId("filter").addEventListener("input", draw);
byId("running").addEventListener("change", draw);
byId("order").addEventListener("change", () => choose(byId("order").value));
for (const button of document.querySelectorAll("[data-sort]"))
  button.addEventListener("click", () => choose(button.dataset.sort));

function choose(key) {
  sort = byId("order").value = key;
  for (const button of document.querySelectorAll("[data-sort]"))
    button.classList.toggle("chosen", button.dataset.sort === key);
  draw();
}

choose("name");
follow();
ask();
