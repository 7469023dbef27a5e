// Running containers by image.
import { api } from "/assets/api.js";
import { fill, h, problem, say, table } from "/assets/dom.js";
import * as live from "/assets/live.js";
import { freshness, short } from "/assets/words.js";

export function show(main) {
  const place = h("div", null, h("p", { class: "loading" }, "Loading the images…"));
  fill(main, h("div", { class: "bar" }, h("div", { class: "grow" }, h("h1", null, "Images"),
    h("p", { class: "lead" }, "Running containers by the image they were made from. An update pulls once and makes all of them anew."))), place);

  async function load() {
    try {
      const groups = await api.images();
      fill(place, groups.length ? h("ul", { class: "cards" }, groups.map(group)) : h("p", { class: "empty" }, "No container runs."));
    } catch (error) {
      if (error.status !== 401) fill(place, problem(error, "The images cannot be shown"), h("button", { type: "button", onclick: load }, "Try again"));
    }
  }

  function group(found) {
    const busy = live.running("group", found.image);
    const rows = found.containers.map((container) => [
      container.container_name, h("span", { class: "mono" }, short(container.local_digest)), freshness(container.status),
      h("label", null, h("input", { type: "checkbox", checked: container.auto_update, "aria-label": `Update ${container.container_name} by itself`,
        onchange: (event) => toggle(container, event.target) }), " by itself"),
    ]);
    return h("li", null, h("article", { class: "card row" },
      h("div", null, h("h2", { class: "mono" }, found.image), h("div", { class: "chips" }, freshness(found.status), h("span", { class: "lead" }, `Registry: ${short(found.remote_digest)}`))),
      h("div", { class: "actions" }, h("button", { type: "button", disabled: Boolean(busy), class: found.status === "uptodate" ? "" : "main", "aria-label": `Update ${found.image}`, onclick: () => update(found) }, "Update")),
      busy && live.bar(busy),
      h("details", { class: "layers" }, h("summary", null, `${rows.length} ${rows.length === 1 ? "container" : "containers"}`),
        table(["Container", "Running", "Status", "Updates"], rows))));
  }

  async function update(found) {
    try { await api.updateGroup(found.image); say(`${found.image} is being updated.`); } catch (error) { say(error.message); }
    load();
  }

  async function toggle(container, box) {
    try { box.checked = (await api.toggle(container.container_id)).auto_update; } catch (error) { box.checked = !box.checked; say(error.message); }
  }

  load();
  const gone = [live.onEnd(load), live.onOutside(load)];
  return () => gone.forEach((stop) => stop());
}
