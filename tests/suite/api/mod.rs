//! What every request passes: routes, names, queries, bodies, and who may ask.

mod access;
mod apps;
mod authfiles;
mod checks;
mod document;
mod guard;
mod list;
mod logs;
mod names;
mod overview;
mod passes;
mod policies;
mod refusals;
mod schedules;
