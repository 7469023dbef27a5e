// The page: which part is shown, and whether anybody is logged in.
import * as activity from "/assets/activity.js";
import { api, onLoggedOut } from "/assets/api.js";
import * as app from "/assets/app.js";
import * as apps from "/assets/apps.js";
import { fill, h, say } from "/assets/dom.js";
import * as images from "/assets/images.js";
import * as live from "/assets/live.js";
import * as login from "/assets/login.js";
import * as schedule from "/assets/schedule.js";

const main = document.getElementById("main");
const nav = document.querySelector("nav");
const logout = document.getElementById("logout");
const connection = document.getElementById("connection");
const PARTS = { "": apps, images, activity, schedule };

let leave = () => {};
let inside = false;
let authenticates = false;

function route(focus = true) {
  if (!inside) return;
  leave();
  const [part, name] = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  for (const link of nav.querySelectorAll("a")) {
    const own = link.hash.replace(/^#\/?/, "");
    if (own === part || (own === "" && part === "app")) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  document.title = part === "app" ? `${name} – Restock` : "Restock";
  const shown = part === "app" && name ? app.show(main, name) : name === undefined && PARTS[part] ? PARTS[part].show(main) : nothing();
  leave = shown ?? (() => {});
  if (focus) main.focus();
}

function nothing() {
  fill(main, h("div", { class: "empty" }, h("h1", null, "Nothing here"), h("p", null, `This page has no ${location.hash}.`),
    h("p", null, h("a", { href: "#/" }, "All apps"))));
}

function enter() {
  inside = true;
  nav.hidden = false;
  logout.hidden = !authenticates;
  live.listen();
  route(false);
}

function out() {
  if (!inside && main.querySelector("form.login")) return;
  inside = false;
  leave();
  leave = () => {};
  live.stop();
  nav.hidden = true;
  logout.hidden = true;
  connection.hidden = true;
  login.show(main, enter);
}

async function start() {
  try {
    authenticates = (await api.auth()).enabled;
    // Whoever has no session is told so by the first question.
    if (authenticates) await api.jobs();
    enter();
  } catch (error) {
    if (error.status === 401) return out();
    fill(main, error.message);
    setTimeout(start, 3000);
  }
}

onLoggedOut(out);
live.onConnection((connected) => {
  connection.hidden = connected;
  fill(connection, connected ? "" : "Connection lost, trying again…");
});
logout.addEventListener("click", async () => {
  await api.logout().catch((error) => say(error.message));
  out();
});
window.addEventListener("hashchange", () => route());
start();
