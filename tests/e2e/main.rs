//! The third ring: real Docker Engines, a real registry, real images, and the program as it is built.
//!
//! Every case runs on an engine with the classic image store (API 1.41) and on one with the containerd store (API 1.51).
//! Where that cannot be, the tests fail: nothing is skipped. [`world`] brings the real parts, [`case`] one app on them.
#![expect(clippy::disallowed_methods, reason = "tests start the real programs and read where they are")]
#![expect(clippy::unwrap_used, reason = "what a test does not find fails it, with the place")]

mod access;
mod api;
mod auto_update;
mod browser;
mod case;
mod containers;
mod crash;
mod docker_cli;
mod docker_wire;
mod document;
mod engine_gone;
mod failing;
mod freshness;
mod hooks;
mod keeping;
mod lost;
mod package;
mod page;
mod readme;
mod relay;
mod rolling_back;
#[path = "../systemd/mod.rs"]
mod systemd;
mod tokens;
mod units;
mod updating;
mod world;

/// Makes a test of `case` for each engine.
macro_rules! both_engines {
    ($($name:ident => $body:expr;)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn classic() {
                let body: fn(crate::world::Kind) = $body;
                body(crate::world::Kind::Classic);
            }
            #[test]
            fn containerd() {
                let body: fn(crate::world::Kind) = $body;
                body(crate::world::Kind::Containerd);
            }
        }
    )*};
}

/// Makes a test of `case` for one engine, where the other would show nothing new.
macro_rules! one_engine {
    ($($name:ident on $kind:ident => $body:expr;)*) => {$(
        #[test]
        fn $name() {
            let body: fn(crate::world::Kind) = $body;
            body(crate::world::Kind::$kind);
        }
    )*};
}
pub(crate) use {both_engines, one_engine};
