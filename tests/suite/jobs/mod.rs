//! Jobs: started, joined, watched, cancelled, remembered, and settled when their process has died.

mod cancelling;
mod former_database;
mod groups;
mod history;
mod joining;
mod leaving;
mod settling;
mod stopping;
mod streams;
mod two_processes;
