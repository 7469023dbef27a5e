// What runs now, from the event stream: one stream for everything, whatever the page shows.
import { api } from "/assets/api.js";
import { h } from "/assets/dom.js";
import { kind, step } from "/assets/words.js";

/** How much of the whole a step has behind it when it begins, in percent. */
const BEGINS = { resolve: 2, snapshot: 3, pull: 6, plan: 55, hooks_before: 57, apply: 60, verify: 80, roll_back: 85, hooks_after: 95 };
const PULLED = 55;
/** How long the page waits for the stream, and how long it gathers changes, in milliseconds. */
const PATIENCE = 1500;
const GATHERED = 300;

/** The running jobs by their IDs. */
const jobs = new Map();
const changed = new Set();
const ended = new Set();
const outside = new Set();
const connection = new Set();
let stream = null;
let known = false;
let telling = null;

/** Calls `told(job)` whenever a running job changes. */
export const onChange = (told) => subscribe(changed, told);
/** Calls `told(job)` when a job has ended; without a job when anything may have changed. */
export const onEnd = (told) => subscribe(ended, told);
/** Calls `told()` when apps were changed, not necessarily through Restock. */
export const onOutside = (told) => subscribe(outside, told);
/**
 * Calls `load` once now or, right after the page was opened, when it is known what runs: whoever waits for `onEnd` as
 * well is called then, and what happens in between is not missed. Without a stream it does not wait long.
 */
export function first(load) {
  if (known) return load();
  setTimeout(() => { if (!known) load(); }, PATIENCE);
}
/** Calls `told(connected)` when the stream comes or goes. */
export const onConnection = (told) => subscribe(connection, told);

function subscribe(set, told) {
  set.add(told);
  return () => set.delete(told);
}

export const running = (key, name) => [...jobs.values()].find((job) => job[key] === name);
export const all = () => [...jobs.values()];

/** Starts to listen. The browser comes back by itself when the connection breaks, and says what it saw last. */
export function listen() {
  stream?.close();
  stream = new EventSource("/api/events");
  const on = (name, handle) => stream.addEventListener(name, (event) => handle(JSON.parse(event.data)));
  stream.onopen = () => { connection.forEach((told) => told(true)); resync(); };
  stream.onerror = () => connection.forEach((told) => told(false));
  on("job", (data) => begin(data));
  on("step", (data) => update(data.job, (job) => { job.step = data.step; job.text = step(data.step); job.layers.clear(); }));
  on("progress", (data) => update(data.job, (job) => layer(job, data)));
  on("container", (data) => update(data.job, (job) => { job.text = `${data.container ?? ""} ${data.status ?? ""}`.trim(); }));
  on("warning", (data) => update(data.job, (job) => { job.text = data.message; }));
  on("result", (data) => end(data));
  on("apps_changed", () => { telling ??= setTimeout(() => { telling = null; outside.forEach((told) => told()); }, GATHERED); });
  on("resync", resync);
}

export function stop() {
  stream?.close();
  stream = null;
  known = false;
  clearTimeout(telling);
  telling = null;
  jobs.clear();
}

/** Asks for what runs: events before the page was opened are not told again. */
async function resync() {
  const now = await api.jobs().catch(() => null);
  if (!now) return;
  const unfinished = now.filter((job) => job.state !== "finished");
  for (const id of [...jobs.keys()]) if (!unfinished.some((job) => job.id === id)) jobs.delete(id);
  unfinished.forEach(begin);
  known = true;
  ended.forEach((told) => told());
}

function begin(data) {
  const before = jobs.get(data.id);
  const job = { ...data, text: step(data.step) ?? "", layers: before?.layers ?? new Map() };
  if (!job.text) job.text = "Starting";
  jobs.set(job.id, job);
  changed.forEach((told) => told(job));
}

function update(id, change) {
  const job = jobs.get(id);
  if (!job) return;
  change(job);
  changed.forEach((told) => told(job));
}

function layer(job, data) {
  const name = data.layer ?? data.service ?? data.image ?? "";
  job.text = `Pulling ${data.service ?? data.image ?? "images"}`;
  if (data.layer) job.layers.set(name, { current: data.current ?? 0, total: data.total ?? 0, status: data.status ?? "" });
}

function end(data) {
  const id = data.id ?? data.job;
  jobs.delete(id);
  ended.forEach((told) => told(data));
}

/** How much is done, in percent; a guess between the steps, a count within the pull. */
export function percent(job) {
  const begin = BEGINS[job.step] ?? 1;
  if (job.step !== "pull") return begin;
  let current = 0, total = 0;
  for (const layer of job.layers.values()) { current += layer.current; total += layer.total; }
  return total ? begin + (PULLED - begin) * Math.min(1, current / total) : begin;
}

/** A running job: what it does, a bar, and with `layers` one more for each layer. */
export function bar(job, { layers = false, name } = {}) {
  const label = `${kind(job.kind)}${name ? ` of ${name}` : ""}`;
  const rows = layers ? [...job.layers].slice(-12).map(([id, layer]) => [
    h("span", { class: "mono" }, id.slice(0, 12)),
    h("progress", { max: layer.total || 1, value: layer.total ? layer.current : layer.status.includes("omplete") ? 1 : 0, "aria-label": `Layer ${id}` }),
    h("span", null, layer.status),
  ]) : [];
  return h("div", { class: "job" },
    h("span", null, `${label}: ${job.text}`),
    h("span", null, `${Math.round(percent(job))} %`),
    h("progress", { max: 100, value: percent(job), "aria-label": label }),
    rows.length > 0 && h("div", { class: "layers" }, rows));
}
