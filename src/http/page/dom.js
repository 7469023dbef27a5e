// Elements from data. Text only ever becomes text: nothing that an app or an image says is read as markup.
import { sentence } from "/assets/text.js";

/** Makes an element; `props` are properties, `on…` listeners, or attributes where a name has a dash or is `role` or `for`. */
export function h(tag, props, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (name.includes("-") || name === "role" || name === "for" || name === "scope") element.setAttribute(name, value === true ? "" : value);
    else element[name] = value;
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Puts `children` in the place of what an element has. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
}

/** A word in a coloured field; the colour only repeats what the word says. */
export const chip = (text, tone) => h("span", { class: `chip ${tone ?? ""}` }, text);

/** A table whose rows become blocks on a phone. */
export function table(heads, rows) {
  const cell = (content, at) => h(at === 0 ? "th" : "td", at === 0 ? { scope: "row" } : { "data-label": heads[at] }, content);
  return h("div", { class: "table" }, h("table", { class: "stack" },
    h("thead", null, h("tr", null, heads.map((head) => h("th", { scope: "col" }, head)))),
    h("tbody", null, rows.map((row) => h("tr", null, row.map(cell))))));
}

/** Tells something for a few seconds, to eyes and to screen readers. */
export function say(text) {
  const line = h("p", null, text);
  document.getElementById("say").append(line);
  setTimeout(() => line.remove(), 6000);
}

/** Asks before something that cannot be taken back; resolves to whether it is wanted. */
export function ask(question, detail, yes) {
  return new Promise((resolve) => {
    const dialog = h("dialog", { "aria-labelledby": "question" },
      h("h2", { id: "question" }, question), h("p", null, detail),
      h("div", { class: "actions" },
        h("button", { type: "button", onclick: () => dialog.close("no") }, "Cancel"),
        h("button", { type: "button", class: "main", onclick: () => dialog.close("yes") }, yes)));
    dialog.addEventListener("close", () => { dialog.remove(); resolve(dialog.returnValue === "yes"); });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** An app's own picture, or a tile with its first letter. */
export function icon(app, title) {
  const tile = () => h("span", { class: "icon", "aria-hidden": "true" }, [...title][0]?.toUpperCase() ?? "?");
  if (!app.icon) return tile();
  const image = h("img", { class: "icon", src: app.icon, alt: "", width: 40, height: 40, loading: "lazy" });
  image.addEventListener("error", () => image.replaceWith(tile()));
  return image;
}

/** A problem of the API, with its hint and what a command said. */
export function problem(error, title) {
  return h("div", { class: "notice bad" }, title && h("h3", null, title), h("p", null, sentence(error.detail ?? error.message)),
    error.hint && h("p", null, sentence(error.hint)),
    error.stderr && h("details", null, h("summary", null, "What the command said"), h("pre", null, error.stderr)));
}

/** Failing containers as they were before they were taken back: how they ended and what they said last. */
export function failing(containers) {
  return (containers ?? []).map((one) => {
    const facts = [one.state, one.exit_code !== null && one.state !== "running" && `exit code ${one.exit_code}`,
      one.oom_killed && "killed for lack of memory", one.health && one.health !== "none" && one.health];
    return h("div", null, h("p", null, h("strong", null, one.service), ` (${one.container}): ${facts.filter(Boolean).join(", ")}`),
      one.health_output && h("pre", { "aria-label": `Healthcheck of ${one.service}` }, one.health_output.trim()),
      one.log?.length > 0 && h("pre", { tabIndex: 0, role: "region", "aria-label": `Last lines of ${one.service}` }, one.log.join("\n")));
  });
}
