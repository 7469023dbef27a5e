// What happened.
import { api } from "/assets/api.js";
import { failing, fill, h, problem } from "/assets/dom.js";
import * as live from "/assets/live.js";
import { ago, sentence, time } from "/assets/text.js";
import { change, kind, outcome } from "/assets/words.js";

/** One finished job. */
export function entry(job, named = true) {
  const target = job.app ?? job.container ?? job.group ?? "everything";
  const changes = job.result?.services ?? [];
  const reports = job.result?.report?.reports ?? [];
  const about = [...changes.map(change), ...reports.filter((report) => report.Updated !== "false").map((report) => `${report.ContainerName}: ${report.Updated}`)];
  const more = [job.error?.hint, ...(job.result?.warnings ?? []), ...(job.result?.report?.errors ?? [])].filter(Boolean);
  return h("li", null, h("article", { class: "card row" },
    h("div", null, h("h2", null, named ? (job.app ? h("a", { href: `#/app/${encodeURIComponent(job.app)}` }, target) : target) : kind(job.kind)),
      h("p", { class: "lead" }, named && `${kind(job.kind)}, `, h("time", { dateTime: job.started_at, title: time(job.started_at) }, ago(job.started_at)),
        job.by && ` by ${job.by}`,
        job.result?.duration_ms !== undefined && `, ${(job.result.duration_ms / 1000).toFixed(1)} s`),
      about.length > 0 && h("p", null, about.join("; ")),
      job.error && h("p", null, sentence(job.error.message)),
      (more.length > 0 || job.error?.stderr || job.error?.containers?.length > 0) && h("details", null, h("summary", null, "More"), more.map((text) => h("p", null, sentence(text))),
        failing(job.error?.containers),
        job.error?.stderr && h("pre", null, job.error.stderr))),
    h("div", { class: "chips" }, outcome(job))));
}

export function show(main) {
  const list = h("ul", { class: "cards" });
  const running = h("div");
  const place = h("div", null, h("p", { class: "loading" }, "Loading…"));
  const more = h("button", { type: "button", hidden: true, onclick: () => load(last) }, "Show earlier ones");
  fill(main, h("div", { class: "bar" }, h("h1", null, "Activity")), running, place, h("p", null, more));
  let last = null;

  async function load(before) {
    try {
      const jobs = await api.history(before);
      if (!before) fill(list);
      list.append(...jobs.map((job) => entry(job)));
      last = jobs.at(-1)?.id ?? last;
      more.hidden = jobs.length < 30;
      fill(place, list.children.length ? list : h("p", { class: "empty" }, "Nothing has been done yet."));
    } catch (error) {
      if (error.status !== 401) fill(place, problem(error), h("button", { type: "button", onclick: () => load() }, "Try again"));
    }
  }

  function draw() {
    fill(running, live.all().map((job) => h("div", { class: "card" }, live.bar(job, { name: job.app ?? job.container ?? job.group ?? "everything" }))));
  }

  load();
  draw();
  const gone = [live.onChange(draw), live.onEnd(() => { draw(); load(); })];
  return () => gone.forEach((stop) => stop());
}
