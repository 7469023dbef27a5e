// The public API, and nothing else.
import { sentence } from "/assets/text.js";

/** A failed request, with the fields of the problem document. */
export class Problem extends Error {
  constructor(body, status) {
    super(sentence(body.detail ?? body.title) || `The service answered ${status}.`);
    Object.assign(this, { detail: this.message }, body, { status });
  }
}

const listeners = new Set();

/** Calls `told` whenever the service wants to know who is asking. */
export const onLoggedOut = (told) => listeners.add(told);

/** How long a lost connection is waited for before a question is asked once more. */
const AGAIN = 500;

async function reach(method, path, options) {
  try {
    return await fetch(path, { method, ...options });
  } catch (error) {
    // Browsers break off what is under way when the machine's network changes. Only a question is asked again.
    if (method !== "GET") throw error;
    await new Promise((resolve) => setTimeout(resolve, AGAIN));
    return fetch(path, { method, ...options });
  }
}

async function call(method, path, body, headers = {}) {
  const options = { headers: { Accept: "application/json", ...headers } };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  let answer;
  try {
    answer = await reach(method, path, options);
  } catch {
    throw new Problem({ detail: "Restock does not answer. Is the service running?", code: "unreachable" }, 0);
  }
  const text = await answer.text();
  let value = null;
  try { value = text ? JSON.parse(text) : null; } catch { value = { detail: text.trim() }; }
  if (answer.ok) return value;
  if (answer.status === 401 && path !== "/api/login") listeners.forEach((told) => told());
  throw new Problem(value ?? {}, answer.status);
}

const of = (app, rest = "") => `/api/apps/${encodeURIComponent(app)}${rest}`;

export const api = {
  auth: () => call("GET", "/api/auth/status"),
  login: (user, pass) => call("POST", "/api/login", { user, pass }),
  logout: () => call("POST", "/api/logout"),
  apps: () => call("GET", "/api/apps"),
  app: (name) => call("GET", of(name)),
  status: (name, force) => call("GET", of(name, `/status?force=${Boolean(force)}`)),
  /** Waits until the registries have been asked about all apps. */
  checkAll: () => call("POST", "/api/check"),
  policy: (name) => call("GET", of(name, "/auto-update")),
  setPolicy: (name, policy) => call("PUT", of(name, "/auto-update"), { auto_update: policy }),
  skip: (name, service) => call("POST", of(name, "/skip"), { service }),
  skipping: (name) => call("GET", of(name, "/skip")),
  endSkip: (name) => call("DELETE", of(name, "/skip")),
  /** Starts a job: `update`, `rollback`, `up` or `down`. */
  start: (name, verb) => begin(of(name, `/${verb}`)),
  preview: (name) => call("POST", of(name, "/update?dry_run=true")),
  historyOf: (name, limit) => call("GET", of(name, `/history?limit=${limit}`)),
  history: (before) => call("GET", `/api/history?limit=30${before ? `&before=${before}` : ""}`),
  jobs: () => call("GET", "/api/jobs"),
  cancel: (job) => call("DELETE", `/api/jobs/${job}`),
  images: () => call("GET", "/api/images"),
  updateGroup: (image) => call("POST", "/api/groups/update", { image }),
  toggle: (id) => call("POST", `/api/images/${id}/auto-update`),
  schedule: () => call("GET", "/api/schedule"),
  pass: () => begin("/api/auto-update"),
  dryPass: () => call("POST", "/api/auto-update?dry_run=true"),
  async logs(name) {
    const answer = await fetch(of(name, "/logs?tail=200"));
    const text = await answer.text();
    if (!answer.ok) throw new Problem(JSON.parse(text), answer.status);
    return text;
  },
};

/** Starts a job and does not wait for it: the event stream tells how it goes. */
function begin(path) {
  return call("POST", path, undefined, { Prefer: "respond-async" });
}
