// What happens by itself, and when.
import { api } from "/assets/api.js";
import { chip, fill, h, problem, say, table } from "/assets/dom.js";
import * as live from "/assets/live.js";
import { sentence } from "/assets/text.js";
import { held } from "/assets/words.js";

const TONES = { true: "good", pending: "warn", failed: "bad", "rolled back": "warn" };
const WORDS = { true: "Updated", false: "No change", pending: "Would update", failed: "Failed", "rolled back": "Rolled back" };

/** A time as the schedule's own clock shows it, with the zone; in the browser's zone where it does not know the other. */
function when(at, timeZone) {
  const parts = { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", timeZoneName: "short" };
  try { return new Date(at).toLocaleString(undefined, { ...parts, timeZone }); } catch { return new Date(at).toLocaleString(undefined, parts); }
}

/** The next pass, and when what it finds can be applied if that is later. */
const passes = (one, zone) => [when(one.next, zone), one.applies !== one.next && h("div", { class: "lead" }, `Can apply updates from ${when(one.applies, zone)}, when the window opens`)];

export function show(main) {
  const place = h("div", null, h("p", { class: "loading" }, "Loading…"));
  const report = h("div");
  const running = h("div");
  fill(main, h("div", { class: "bar" }, h("div", { class: "grow" }, h("h1", null, "Schedule"),
    h("p", { class: "lead" }, "A pass looks at everything that a policy marks, and updates what has a newer image.")),
    h("button", { type: "button", onclick: preview }, "What would it do?"), h("button", { type: "button", class: "main", onclick: pass }, "Run now")),
  running, place, report);

  async function load() {
    try {
      const now = await api.schedule();
      fill(place, h("div", { class: "card" }, h("dl", { class: "facts" },
        h("dt", null, "Runs"), h("dd", null, now.schedule ? h("code", null, now.schedule) : "Never; start the service with --schedule."),
        h("dt", null, "Next"), h("dd", null, now.next ? passes(now, now.timezone) : "–"),
        h("dt", null, "Window"), h("dd", null, now.window ?? "Always", " ", chip(now.open ? "Open" : "Closed", now.open ? "good" : "")),
        h("dt", null, "Time zone"), h("dd", null, now.timezone))),
      now.apps.length > 0 && [h("h2", null, "Apps with a schedule of their own"),
        table(["App", "Schedule", "Next"], now.apps.map((app) => [h("a", { href: `#/app/${encodeURIComponent(app.app)}` }, app.app), h("code", null, app.schedule), passes(app, now.timezone)]))]);
    } catch (error) {
      if (error.status !== 401) fill(place, problem(error), h("button", { type: "button", onclick: load }, "Try again"));
    }
  }

  function tell(found, title) {
    const rows = found.reports.map((one) => [one.Unit ?? one.SystemdUnit, h("span", { class: "mono" }, one.ImageName),
      [chip(WORDS[one.Updated] ?? one.Updated, TONES[one.Updated]), one.HeldBack && h("div", { class: "lead" }, held(one.HeldBack))]]);
    fill(report, h("h2", null, title), found.errors.map((error) => h("p", { class: "notice bad" }, sentence(error))),
      rows.length ? table(["What", "Image", "Result"], rows) : h("p", { class: "lead" }, "No policy marks anything that runs. Open an app and choose when it is updated."));
  }

  async function preview() {
    fill(report, h("p", { class: "loading" }, "Asking the registries…"));
    try { tell(await api.dryPass(), "A pass would do this"); } catch (error) { fill(report, problem(error)); }
  }

  async function pass() {
    try { await api.pass(); } catch (error) { say(error.message); }
  }

  const draw = () => fill(running, live.all().filter((job) => job.kind === "auto_update").map((job) => h("div", { class: "card" }, live.bar(job))));
  load();
  draw();
  const gone = [live.onChange(draw), live.onEnd((job) => {
    draw();
    load();
    if (job?.kind === "auto_update" && job.result?.report) tell(job.result.report, "The pass did this");
  })];
  return () => gone.forEach((stop) => stop());
}
