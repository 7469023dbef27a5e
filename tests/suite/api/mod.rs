//! What every request passes: routes, names, queries, bodies, and who may ask.

mod access;
mod apps;
mod authfiles;
mod document;
mod guard;
mod list;
mod logs;
mod names;
mod passes;
mod policies;
mod refusals;
mod schedules;
