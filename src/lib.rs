//! Restock updates Docker Compose apps, proves that the new containers work, and takes the update back when they do not.
//!
//! The folders' arrows run one way: [`usecases`] → [`adapters`] → [`domain`]. `domain` has the words and the rules and
//! does no IO; `adapters` has one module for each thing outside; `usecases` has one verb a file.
//! Start reading at `usecases::update_app`.

pub mod adapters;
pub mod cli;
pub mod config;
pub mod domain;
pub mod error;
pub mod http;
pub mod usecases;
pub mod views;
