//! The words of the trade and their rules, without any input or output.
//!
//! Nothing here imports another part of Restock, reads a clock or touches a file: time and facts come in as arguments.

pub mod access;
pub mod app;
pub mod attempt;
pub mod check;
pub mod container;
pub mod evidence;
pub mod failure;
pub mod freshness;
pub mod group;
pub mod hold;
pub mod hook;
pub mod host;
pub mod image;
pub mod job;
pub mod journal;
pub mod label;
pub mod notice;
pub mod overview;
pub mod plan;
pub mod policy;
pub mod progress;
pub mod project;
pub mod proof;
pub mod recreate;
pub mod report;
pub mod schedule;
pub mod time;
pub mod window;
