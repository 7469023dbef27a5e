//! The words of the trade and their rules, without any input or output.
//!
//! Nothing here imports another part of Restock, reads a clock or touches a file: time and facts come in as arguments.

pub mod access;
pub mod app;
pub(crate) mod attempt;
pub(crate) mod check;
pub mod container;
pub(crate) mod evidence;
pub mod failure;
pub(crate) mod freshness;
pub(crate) mod group;
pub(crate) mod hold;
pub(crate) mod hook;
pub mod host;
pub mod image;
pub mod job;
pub(crate) mod journal;
pub(crate) mod label;
pub(crate) mod notice;
pub(crate) mod overview;
pub mod plan;
pub(crate) mod policy;
pub(crate) mod progress;
pub(crate) mod project;
pub(crate) mod proof;
pub(crate) mod recreate;
pub(crate) mod report;
pub mod schedule;
pub(crate) mod time;
pub(crate) mod window;
