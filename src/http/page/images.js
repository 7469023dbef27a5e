// Running containers by image.
import { api } from "/assets/api.js";
import { fill, h, problem, say, table } from "/assets/dom.js";
import * as live from "/assets/live.js";
import { short } from "/assets/text.js";
import { freshness } from "/assets/words.js";

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

  /** Of an image that a digest pins there is nothing newer to know. */
  const followed = (found, status) => (found.image.includes("@") ? "skipped" : status);
  /** What the registry is not known to have is shown like any other digest that is not known. */
  const digest = (value) => short(value === "unknown" ? null : value);

  function group(found) {
    const busy = live.running("group", found.image);
    const rows = found.containers.map((container) => [
      container.container_name, h("span", { class: "mono" }, digest(container.local_digest)), freshness(followed(found, container.status)),
      h("label", null, h("input", { type: "checkbox", checked: container.auto_update, "aria-label": `Update ${container.container_name} automatically`,
        onchange: (event) => toggle(container, event.target) }), " automatic"),
    ]);
    return h("li", null, h("article", { class: "card row" },
      h("div", null, h("h2", { class: "mono" }, found.image), h("div", { class: "chips" }, freshness(followed(found, found.status)), h("span", { class: "lead" }, `Registry: ${digest(found.remote_digest)}`))),
      h("div", { class: "actions" }, h("button", { type: "button", disabled: Boolean(busy), class: ["outdated", "partial"].includes(followed(found, found.status)) ? "main" : "", "aria-label": `Update ${found.image}`, onclick: () => update(found) }, "Update")),
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
