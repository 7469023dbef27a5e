//! The second ring: Restock whole, in this process, with every outside replaced at the other end of its wire — a fake
//! `docker` program, a fake engine on a socket, fake registries — and the replies that real ones gave.
#![expect(clippy::unwrap_used, reason = "what a test does not find fails it, with the place")]
#![expect(
    clippy::disallowed_methods,
    reason = "tests have many clients at once, start the program, and read how they were asked"
)]

mod api;
mod arrows;
mod attempt;
mod cli;
mod connections;
mod containers;
mod cycles;
mod docker;
mod following;
mod hanging;
mod jobs;
mod metrics;
mod notices;
mod outages;
mod recorded;
mod registry;
#[path = "../systemd/mod.rs"]
mod systemd;
mod updating;
mod world;
