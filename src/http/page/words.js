// The API's words, as people read them, and the tone that goes with each.
import { chip } from "/assets/dom.js";
import { short, time } from "/assets/text.js";

const FRESHNESS = {
  updated: ["Up to date", "good"], outdated: ["Update available", "warn"], skipped: ["Not followed", ""], held: ["Update held back", ""],
  processing: ["Updating", ""], preparing: ["Starting", ""], error: ["Check failed", "bad"],
  uptodate: ["Up to date", "good"], partial: ["Partly outdated", "warn"], unknown: ["Not known", ""],
};
const STATES = {
  running: ["Running", "good"], partial: ["Partly running", "warn"], stopped: ["Stopped", ""], absent: ["Not created", ""], broken: ["Broken", "bad"],
};
const OUTCOMES = {
  updated: ["Updated", "good"], unchanged: ["Nothing new", ""], pulled: ["Pulled", ""], pending: ["Would update", "warn"],
  rolled_back: ["Rolled back", "warn"], failed: ["Failed", "bad"], cancelled: ["Cancelled", ""], interrupted: ["Interrupted", "warn"], done: ["Done", "good"],
};
const KINDS = { update: "Update", rollback: "Roll back", up: "Start", down: "Stop", check: "Check", auto_update: "Automatic update", container_update: "Container update", image_change: "Image changed through Docker's routes" };
const STEPS = {
  resolve: "Reading the Compose file", snapshot: "Looking at the containers", pull: "Pulling images", plan: "Comparing",
  hooks_before: "Running the owner's commands", hooks_after: "Running the owner's commands",
  apply: "Replacing containers", verify: "Proving that they work", roll_back: "Bringing the previous version back",
};
const HELD = {
  min_age: "too young", skipped: "skipped", failed: "failed here before", setup: "the app did not work with it", rolled_back: "somebody went back from it", window: "waits for the maintenance window",
};

const said = (words, key) => { const [text, tone] = words[key] ?? [key, ""]; return chip(text, tone); };
export const freshness = (status) => (status ? said(FRESHNESS, status) : chip("Not checked yet", ""));
/** What an app does; one that runs and does not work is not well. */
export function state(app) {
  const [text, tone] = STATES[app.state] ?? [app.state, ""];
  if (app.health === "unhealthy") return chip(app.state === "running" ? "Unhealthy" : `${text}, unhealthy`, "bad");
  return app.health === "starting" ? chip(`${text}, not healthy yet`, "warn") : chip(text, tone);
}
/** A rollback that was asked for ends well with the same word as an update that was taken back. */
export const outcome = (job) => (job.kind === "rollback" && job.outcome === "rolled_back" ? chip("Rolled back", "good") : said(OUTCOMES, job.outcome));
export const kind = (key) => KINDS[key] ?? key;
export const step = (key) => STEPS[key] ?? key;

/** Why a newer image is not applied by itself. */
export function held(hold) {
  const until = hold.until ? ` until ${time(hold.until)}` : hold.reason === "window" ? "" : ", until there is another";
  return `Held back: ${HELD[hold.reason] ?? hold.reason}${until}.`;
}

/** Images that nobody should be asked to apply: they failed here, or somebody skipped them or went back from them. */
export const setAside = (held) => ["failed", "setup", "rolled_back", "skipped"].includes(held?.reason);

/** How an app stands with its updates: `held` where everything newer is set aside. */
export function standing(status) {
  const outdated = (status?.services ?? []).filter((service) => service.status === "outdated");
  return outdated.length > 0 && outdated.every((service) => setAside(service.held_back)) ? "held" : status?.status;
}

/** What is there to be had: a version, else the beginning of a digest. */
export const newer = (available) => available.version ?? short(available.digest);

/** From what to what an update of these services would go, each pair once. */
export function versions(services) {
  const steps = services.filter((service) => service.available).map((service) => `${service.version ? `${service.version} ` : ""}→ ${newer(service.available)}`);
  return [...new Set(steps)].join(", ");
}

/** `1.2 → 1.3` where images have version labels, else short IDs. */
export function change(service) {
  const from = [service.from].flat().map(short).join(" + ");
  const named = service.version_from && service.version_to && service.version_from !== service.version_to;
  return `${service.service}: ${named ? `${service.version_from} → ${service.version_to}` : `${from} → ${short(service.to)}`}`;
}
