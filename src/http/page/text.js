// Texts and times as people read them.

/** How many letters of a digest or an ID are shown: what the lists of images have of them. */
const LETTERS = 10;

export const short = (id) => (id ? String(id).replace(/^sha256:/, "").slice(0, LETTERS) : "–");

/** In the browser's own zone, which is named. */
export const time = (at) => new Date(at).toLocaleString(undefined, { year: "numeric", month: "short", day: "numeric", hour: "numeric", minute: "2-digit", timeZoneName: "short" });

/** A sentence of the service: a capital at the beginning, no marks around names, times as everywhere here. */
export const sentence = (text) => String(text ?? "").replaceAll("`", "").replace(/^\p{Ll}/u, (letter) => letter.toUpperCase())
  .replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g, time);

/** Compressed bytes, as registries have them. */
export const megabytes = (bytes) => (bytes < 1e6 ? "less than 1 MB" : `${Math.round(bytes / 1e6)} MB`);

/** How long ago, for a glance; the exact time is in the title. */
export function ago(at) {
  const seconds = (Date.now() - new Date(at)) / 1000;
  const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  for (const [unit, length] of [["day", 86400], ["hour", 3600], ["minute", 60]]) {
    if (seconds >= length) return relative.format(-Math.floor(seconds / length), unit);
  }
  return "just now";
}
