// The apps at a glance.
import { api } from "/assets/api.js";
import { ask, chip, fill, h, icon, problem, say } from "/assets/dom.js";
import * as live from "/assets/live.js";
import { sentence } from "/assets/text.js";
import { freshness, held, setAside, standing, state, versions } from "/assets/words.js";

const title = (app) => app.manifest?.display_name ?? app.name;

export function show(main) {
  const search = h("input", { type: "search", placeholder: "Filter by name", "aria-label": "Filter the apps by name", class: "grow", oninput: filter });
  const lead = h("p", { class: "lead", role: "status" });
  const checkAll = h("button", { type: "button", disabled: true, onclick: check }, "Check all");
  const updateAll = h("button", { type: "button", class: "main", disabled: true, onclick: update }, "Update all");
  const list = h("ul", { class: "cards" });
  const place = h("div", null, h("p", { class: "loading" }, "Loading the apps…"));
  fill(main, h("div", { class: "bar" }, h("div", { class: "grow" }, h("h1", null, "Apps"), lead), checkAll, updateAll),
    h("div", { class: "bar" }, search), place);

  const rows = new Map();
  let apps = [];
  let again = null;

  async function load() {
    clearTimeout(again);
    try {
      apps = await api.apps();
    } catch (error) {
      if (error.status === 401) return;
      // What was seen last stays, greyed.
      list.classList.add("stale");
      fill(place, problem(error, apps.length ? "The apps cannot be looked at; this is how they were" : "The apps cannot be shown"),
        h("p", null, h("button", { type: "button", onclick: load }, "Try again")), apps.length > 0 && list);
      if (!apps.length) fill(lead);
      again = setTimeout(load, 5000);
      return;
    }
    if (apps.length === 0) {
      fill(place, h("div", { class: "empty" }, h("h2", null, "No apps yet"),
        h("p", null, "An app is a directory with a Compose file in the apps directory. Put one there: it is found at once.")));
    } else {
      for (const [name, row] of rows) if (!apps.some((app) => app.name === name)) { row.item.remove(); rows.delete(name); }
      apps.forEach(draw);
      list.append(...apps.map((app) => rows.get(app.name).item));
      list.classList.remove("stale");
      if (place.firstChild !== list) fill(place, list);
    }
    count();
    filter();
  }

  function draw(app) {
    let row = rows.get(app.name);
    if (!row) {
      row = { item: h("li"), job: h("div", { class: "job" }) };
      rows.set(app.name, row);
    }
    row.app = app;
    if (app.status === "outdated" && setAside(app.held)) app.status = "held";
    const named = title(app);
    const about = (app.error && sentence(app.error)) ?? app.manifest?.description ?? app.services.map((service) => service.image).join(", ");
    const job = live.running("app", app.name);
    const busy = Boolean(job);
    fill(row.item, h("article", { class: "card row pictured" }, icon(app, named),
      h("div", null, h("h2", null, h("a", { href: `#/app/${encodeURIComponent(app.name)}` }, named),
          app.url && app.state === "running" && [" ", h("a", { class: "quiet", href: app.url, target: "_blank", rel: "noreferrer noopener" }, "Open")]),
        h("p", { class: "about", title: about }, about),
        h("div", { class: "chips" }, state(app), app.state !== "broken" && freshness(app.status),
          app.auto_update && app.auto_update !== "disabled" && chip(`Automatic updates (${app.auto_update})`)),
        app.services.some((service) => service.available) && h("p", { class: "lead" }, versions(app.services)),
        app.held && h("p", { class: "lead" }, held(app.held)),
        ["rolled_back", "failed"].includes(app.last?.outcome) && app.last.kind === "update" && h("p", { class: "lead" }, sentence(app.last.reason))),
      h("div", { class: "actions" },
        h("button", { type: "button", disabled: busy || app.state === "broken", "aria-label": `Check ${named}`, onclick: (event) => checkOne(app, event.currentTarget) }, "Check"),
        h("button", { type: "button", class: app.status === "outdated" ? "main" : "", disabled: busy || app.state === "broken", "aria-label": `Update ${named}`, onclick: () => start(app) }, "Update")),
      row.job));
    progress(app.name);
  }

  function progress(name) {
    const row = rows.get(name);
    if (!row) return;
    const job = live.running("app", name);
    const place = job ? live.bar(job) : h("div", { hidden: true });
    row.job.replaceWith(place);
    row.job = place;
  }

  function count() {
    const outdated = apps.filter((app) => app.status === "outdated").length;
    const broken = apps.filter((app) => app.state === "broken").length;
    const unhealthy = apps.filter((app) => app.health === "unhealthy").length;
    const parts = [`${apps.length} ${apps.length === 1 ? "app" : "apps"}`,
      outdated ? `${outdated} with updates` : "no update known", unhealthy && `${unhealthy} unhealthy`, broken && `${broken} broken`];
    fill(lead, parts.filter(Boolean).join(" · "));
    updateAll.disabled = apps.length === 0;
    checkAll.disabled = apps.length === 0;
  }

  function filter() {
    const wanted = search.value.trim().toLowerCase();
    for (const { item, app } of rows.values()) {
      item.hidden = !`${app.name} ${app.manifest?.display_name ?? ""}`.toLowerCase().includes(wanted);
    }
  }

  async function start(app) {
    try { await api.start(app.name, "update"); } catch (error) { say(`${title(app)}: ${error.message}`); }
  }

  async function checkOne(app, button) {
    if (button) button.disabled = true;
    try {
      app.status = standing(await api.status(app.name, true));
      draw(app);
      count();
      await load();
    } catch (error) {
      app.status = "error";
      say(`${title(app)}: ${error.message}`);
      draw(app);
      count();
    }
  }

  async function check() {
    checkAll.disabled = true;
    try {
      const found = await api.checkAll();
      const parts = [found.outdated && `${found.outdated} with updates`, found.failed && `${found.failed} could not be checked`].filter(Boolean);
      say(parts.length ? `${parts.join(", ")}.` : "Everything is up to date.");
    } catch (error) {
      say(error.message);
    }
    await load();
  }

  async function update() {
    const wanted = apps.filter((app) => app.state !== "broken");
    const detail = "Each is updated, proved, and taken back if it does not work. Data is never rolled back.";
    if (await ask(`Update ${wanted.length} ${wanted.length === 1 ? "app" : "apps"}?`, detail, "Update all")) wanted.forEach(start);
  }

  live.first(load);
  const gone = [
    live.onChange((job) => {
      const row = rows.get(job.app);
      if (!row) return;
      if (!row.job.hasChildNodes()) draw(row.app); else progress(job.app);
    }),
    live.onEnd(load),
    live.onOutside(load),
  ];
  return () => { clearTimeout(again); gone.forEach((stop) => stop()); };
}
