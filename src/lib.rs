//! Restock updates Docker Compose apps, proves that the new containers work, and takes the update back when they do not.
//!
//! The folders' arrows run one way: [`http`] and [`cli`] (with [`views`]) → [`usecases`] → [`adapters`] → [`domain`].
//!
//! - `domain`: the words and the rules; no input or output.
//! - `adapters`: one module for each thing outside; wire format to domain and back.
//! - `usecases`: one verb a file. Start reading at [`usecases::update_app`].
//! - `views`: the shapes that clients see, the same for the API and for `--json`.
//! - `http`: the route table is [`http::router`]. `cli`: one file a command.
//! - [`config`]: every option, from flags, variables and a file; the only reader of the environment.

pub mod adapters;
pub mod cli;
pub mod config;
pub mod domain;
pub mod error;
pub mod http;
pub mod usecases;
pub mod views;
