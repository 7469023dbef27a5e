// Who is there?
import { api } from "/assets/api.js";
import { fill, h } from "/assets/dom.js";

/** Shows the form; calls `done` once somebody is logged in. */
export function show(main, done) {
  const wrong = h("p", { class: "notice bad", role: "alert", hidden: true });
  const user = h("input", { id: "user", autocomplete: "username", required: true });
  const pass = h("input", { id: "pass", type: "password", autocomplete: "current-password", required: true });
  const button = h("button", { type: "submit", class: "main" }, "Log in");
  fill(main, h("form", { class: "login card", onsubmit: async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      await api.login(user.value, pass.value);
      done();
    } catch (error) {
      wrong.hidden = false;
      fill(wrong, error.status === 401 ? "The name or the password is wrong." : error.message);
      button.disabled = false;
      pass.select();
    }
  } }, h("h1", null, "Log in"), h("label", { for: "user" }, "Name", user), h("label", { for: "pass" }, "Password", pass), wrong, button));
  user.focus();
}
