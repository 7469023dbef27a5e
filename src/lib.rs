//! Restock updates Docker Compose apps, proves that the new containers work, and takes the update back when they do not.
//!
//! # Where things are
//!
//! The folders' arrows run one way: [`http`] and [`cli`] (with [`views`]) → [`usecases`] → [`adapters`] → [`domain`].
//!
//! - `domain`: the words and the rules; no input or output. What is newer: [`domain::plan`]. What is proven:
//!   [`domain::proof`]. What happens next in a change: [`domain::attempt`]. What marks something for updates by itself:
//!   [`domain::policy`]; what holds it back: [`domain::hold`], [`domain::window`].
//! - `adapters`: one module for each thing outside (engine, Compose, registries, database, locks, systemd, receivers of
//!   notices); wire format to domain and back.
//! - `usecases`: one verb a file. Start reading at [`usecases::update_app`]; every change ends in `usecases::attempt`.
//! - `views`: the shapes that clients see, the same for the API and for `--json`.
//! - `http`: the route table is [`http::router`]. `cli`: one file a command.
//! - [`config`]: every option, from flags, variables and a file; the only reader of the environment.
//!
//! # How a change lives
//!
//! App update, rollback, container update and unit update are one thing: a list of facts with two sides, and one route to
//! either of them. A use case pulls, plans and builds the list; `usecases::attempt` does the rest, and what a crash leaves
//! is resumed at the stage that is recorded.
//!
//! ```text
//!           recorded: the point of no return
//! prepare ─────────────► Forward ──proof──► Proven(New) ──tidy──► Closed: updated, rolled back on demand
//!    │                      │ setback
//!    ▼                      ▼
//! refused: nothing        Back ───proof───► Proven(Old) ──tidy──► Closed: taken back
//! was touched               │ setback, or nothing to go back to
//!                           └──────────────────────────────────► Closed: failed, nothing removed
//!
//! An engine that goes away, a Compose that goes on, a database that cannot be written: wait, else stay open (blocked).
//! ```

pub mod adapters;
pub mod cli;
pub mod config;
pub mod domain;
pub mod error;
pub mod http;
pub mod usecases;
pub mod views;
