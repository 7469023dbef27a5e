//! The one life that every change goes through: app update, rollback, container update, unit update, and what a crash left.
//!
//! A use case pulls and plans, builds the list of facts, and calls [`run()`]. From there on the world decides: facts are
//! observed, [`crate::domain::attempt::next`] chooses one action towards the goal side, it is done, and so on until the
//! side can be proved. Recording comes first everywhere: the stage before what it allows, an action before it is done.
//!
//! - **Order**, both ways: references, then what converges on them, then the proof. Only then is the other side removed.
//! - **Locks**: the target's, then its images' in the order of their names, from before the pull to the end of the proof.
//!   They are released before another job is awaited (a container that follows).
//! - **The engine goes away**: it is waited for, then the facts are observed anew with the same goal; a proof starts
//!   again. An engine that stays away leaves the job open. It is never blamed on an image.
//! - **A crash**: the row's stage says which side is the goal. A process that died in Forward is counted; after the second
//!   death the goal is Old. A process that left the job open on purpose, or could only not record its verdict, did not die.
//! - **Who is blamed**: an image only when one of its own services was started on it and failed its own proof; the set-up
//!   for everything else; nothing when the engine, the database or the service manager was the cause.
//!
//! Rejected: actions with an undo each, undone in reverse order. Compose's `up` replaces several containers and has no
//! undo, and the way back would be a second route that is rarely run.

mod actions;
mod classify;
mod ending;
mod failure;
mod leftovers;
mod observe;
mod proof;
mod resume;
mod run;
mod work;

pub(super) use ending::unsettled;
pub(super) use resume::resume;
pub(super) use run::run;
pub(super) use work::{KEEP, Scene, Work};
