// One app: what runs, what there is, and what can be done.
import { api } from "/assets/api.js";
import { ask, chip, failing, fill, h, icon, problem, say, table } from "/assets/dom.js";
import { entry } from "/assets/activity.js";
import * as live from "/assets/live.js";
import { megabytes, sentence, short, time } from "/assets/text.js";
import { change, freshness, held, outcome, setAside, standing, state } from "/assets/words.js";

const POLICIES = [["", "Default (from Compose file)"], ["registry", "When the registry has a newer image"],
  ["local", "When the image on this machine is newer"], ["disabled", "Never"]];

/** Who decided about a policy, where that is not the page itself. */
const SOURCES = { setting: "set here", "x-restock": "from x-restock in the Compose file" };
/** How many past jobs are shown. */
const SHOWN = 10;

export function show(main, name) {
  const place = h("div", null, h("p", { class: "loading" }, `Loading ${name}…`));
  const job = h("div");
  const parts = { head: h("div"), failure: h("div"), services: h("section"), policy: h("section"), history: h("section"), logs: h("section") };
  fill(main, h("p", null, h("a", { href: "#/" }, "← All apps")), place);
  let app = null;
  let status = null;

  async function load() {
    try {
      app = await api.app(name);
    } catch (error) {
      if (error.status === 401) return;
      return fill(place, h("h1", null, name), problem(error), h("p", null, h("button", { type: "button", onclick: load }, "Try again")));
    }
    if (!place.contains(parts.head)) fill(place, parts.head, job, parts.failure, parts.services, parts.policy, parts.history, parts.logs);
    head();
    progress();
    services();
    await Promise.all([look(false), policy(), history()]);
  }

  /** What runs, and nothing that somebody may be reading or choosing. */
  async function again() {
    if (!app) return;
    app = await api.app(name).catch(() => app);
    head();
    services();
    await look(false);
  }

  function head() {
    const busy = Boolean(live.running("app", name)) || app.state === "broken";
    const button = (text, verb, { main = false, off = false } = {}) => h("button", { type: "button", class: main ? "main" : "", disabled: busy || off, onclick: () => act(verb) }, text);
    const now = standing(status) ?? app.status;
    const version = runningVersion();
    const runs = app.state === "running" || app.state === "partial";
    fill(parts.head, h("div", { class: "bar" },
      icon(app, app.manifest?.display_name ?? name),
      h("div", { class: "grow" }, h("h1", null, app.manifest?.display_name ?? name),
        app.manifest?.description && h("p", { class: "lead" }, app.manifest.description),
        h("div", { class: "chips" }, state(app), app.state !== "broken" && freshness(now), version && chip(`Version ${version}`))),
      h("div", { class: "actions" },
        h("button", { type: "button", disabled: busy, onclick: () => look(true) }, "Check"),
        button("Update", "update", { main: now === "outdated" }), button("Roll back", "rollback", { off: !app.can_roll_back }),
        button(runs ? "Stop" : "Start", runs ? "down" : "up"))),
    app.error && h("div", { class: "notice bad" }, h("h3", null, "Something is wrong with this app"), h("p", null, sentence(app.error))));
  }

  /** The version that runs: the one of its main service, or of all. The manifest's is only what the store had. */
  function runningVersion() {
    const main = app.services.find((service) => service.service === name) ?? app.services.find((service) => service.service === app.project);
    const versions = new Set(app.services.map((service) => service.version).filter(Boolean));
    const runs = app.services.some((service) => service.containers.length > 0);
    return main?.version ?? (versions.size === 1 ? [...versions][0] : runs ? null : app.manifest?.version);
  }

  function progress() {
    const running = live.running("app", name);
    fill(job, running && h("div", { class: "card" }, live.bar(running, { layers: true })));
  }

  function services() {
    const known = new Map((status?.services ?? []).map((service) => [service.service, service]));
    const rows = app.services.map((service) => {
      const found = known.get(service.service);
      const up = service.containers.filter((container) => container.state === "running").length;
      const health = service.containers.map((container) => container.health).find((health) => health !== "none");
      const outdated = found?.status === "outdated";
      return [
        [service.service, source(service.source)],
        h("span", { class: "mono" }, service.image),
        service.version ?? h("span", { class: "mono" }, short(found?.local_digest ?? service.containers[0]?.image_id)),
        [outdated ? available(found) : "–", found && [" ", freshness(standing({ status: found.status, services: [found] }))],
          found?.message && h("div", { class: "lead" }, sentence(found.message)), found?.held_back && h("div", { class: "lead" }, held(found.held_back)),
          outdated && !setAside(found.held_back) && h("div", null, h("button", { type: "button", class: "quiet", onclick: () => skip(service.service) }, "Skip this one"))],
        [`${up} of ${service.containers.length} running`, health && `, ${health}`],
      ];
    });
    fill(parts.services, h("h2", null, "Services"), rows.length ? table(["Service", "Image", "Running", "Available", "Containers"], rows)
      : h("p", { class: "lead" }, "This app has no services."),
      status?.checked_at && h("p", { class: "lead" }, `Registries were asked ${time(status.checked_at)}.`));
  }

  async function look(force) {
    if (app.state === "broken") return;
    try {
      status = await api.status(name, force);
      if (force) say(status.status === "outdated" ? "There is an update." : status.status === "error" ? "A registry did not answer." : "Nothing newer.");
    } catch (error) {
      say(error.message);
    }
    head();
    services();
  }

  async function policy() {
    if (app.state === "broken") return fill(parts.policy);
    try {
      const [now, skips] = await Promise.all([api.policy(name), api.skipping(name).catch(() => ({ skipped: [] }))]);
      const select = h("select", { id: "policy", onchange: async () => {
        try { await api.setPolicy(name, select.value || null); say("The policy is set."); } catch (error) { say(error.message); }
        policy();
      } }, POLICIES.map(([value, text]) => h("option", { value }, text)));
      select.value = now.source === "setting" ? now.auto_update : "";
      const wrong = now.services.filter((service) => service.error);
      fill(parts.policy, h("h2", null, "Automatic updates"),
        h("div", { class: "card" }, h("p", null, h("label", { for: "policy" }, "Update this app on schedule: "), select),
          h("p", { class: "lead" }, now.auto_update ? `Now: ${now.auto_update}, ${SOURCES[now.source] ?? `from the label ${now.source}`}.` : "Not updated automatically."),
          wrong.map((service) => h("p", { class: "notice bad" }, `${service.service}: ${sentence(service.error)}`)),
          skips.skipped.length > 0 && h("p", null, `Skipped: ${skips.skipped.map((skip) => `${skip.service} ${short(skip.digest)}`).join(", ")} `,
            h("button", { type: "button", onclick: async () => { await api.endSkip(name).catch((error) => say(error.message)); load(); } }, "Skip no longer"))));
    } catch (error) {
      fill(parts.policy, h("h2", null, "Automatic updates"), problem(error));
    }
  }

  async function history() {
    try {
      const jobs = await api.historyOf(name, SHOWN);
      head();
      fill(parts.failure, failure(jobs.find((job) => job.kind !== "check")));
      fill(parts.history, h("h2", null, "History"),
        jobs.length ? h("ul", { class: "cards" }, jobs.map((job) => entry(job, false))) : h("p", { class: "lead" }, "Nothing yet."));
      fill(parts.logs, h("h2", null, "Logs"), h("button", { type: "button", onclick: logs }, "Show the last lines"));
    } catch (error) {
      fill(parts.history, problem(error));
    }
  }

  /** A failed update explains itself: what failed, what was taken back, what runs now. */
  function failure(last) {
    if (!last?.error || !["rolled_back", "failed"].includes(last.outcome)) return null;
    const back = last.outcome === "rolled_back";
    const tried = last.result?.services ?? [];
    const runs = app.services.flatMap((service) => service.containers.map((container) => `${container.name} (${service.version ?? short(container.image_id)}, ${container.state})`));
    return h("div", { class: `notice ${back ? "warn" : "bad"}` },
      h("h3", null, back ? "The last update did not work and was taken back" : "The last job failed"),
      h("p", null, sentence(last.error.message)), last.error.hint && h("p", null, sentence(last.error.hint)),
      tried.length > 0 && h("p", null, `Tried: ${tried.map(change).join("; ")}.`),
      runs.length > 0 && h("p", null, `Runs now: ${runs.join(", ")}.`),
      failing(last.error.containers),
      last.error.stderr && h("details", null, h("summary", null, "What the command said"), h("pre", null, last.error.stderr)));
  }

  async function logs() {
    try {
      const text = await api.logs(name);
      fill(parts.logs, h("h2", null, "Logs"), h("button", { type: "button", onclick: logs }, "Refresh"),
        h("pre", { tabIndex: 0, role: "region", "aria-label": "Logs" }, text || "The containers have printed nothing."));
    } catch (error) {
      say(error.message);
    }
  }

  async function act(verb) {
    const questions = {
      rollback: ["Go back to the previous images?", "The containers are made anew from the images of before the last update. Data is not rolled back.", "Roll back"],
      down: ["Stop this app?", "Its containers are removed; volumes stay.", "Stop"],
    };
    if (questions[verb] && !(await ask(...questions[verb]))) return;
    try { await api.start(name, verb); } catch (error) { say(error.message); }
  }

  async function skip(service) {
    try { await api.skip(name, service); say("Skipped until the registry has another."); } catch (error) { say(error.message); }
    look(false);
    policy();
  }

  load();
  const gone = [
    live.onChange((running) => { if (running.app === name && app) { progress(); if (!parts.head.querySelector("button:disabled")) head(); } }),
    live.onEnd((ended) => { if (!ended || ended.app === name) { load(); if (ended?.outcome) say(`${name}: ${outcome(ended).textContent}`); } }),
    live.onOutside(again),
  ];
  return () => gone.forEach((stop) => stop());
}

/** What an update would bring, how much of it and how old. */
function available(found) {
  const about = [found.available?.size && megabytes(found.available.size), found.available?.created && `made ${time(found.available.created)}`].filter(Boolean);
  const named = found.available?.version ?? h("span", { class: "mono" }, short(found.remote_digest));
  return [named, about.length > 0 && h("div", { class: "lead" }, about.join(", "))];
}

/** A link to where the image's source is; other schemes than the web's are no links. */
function source(url) {
  return /^https?:\/\//.test(url ?? "") ? [" ", h("a", { href: url, rel: "noreferrer noopener", target: "_blank" }, "Source")] : null;
}
