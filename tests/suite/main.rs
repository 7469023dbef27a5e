//! The second ring: every outside is replaced on its wire, and every failure can be had in milliseconds.
#![expect(clippy::unwrap_used, reason = "what a test does not find fails it, with the place")]

mod fake;
mod http;
mod registry;
mod replies;
mod updates;
