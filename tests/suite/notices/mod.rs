//! What people are told, and what becomes of it when a receiver fails.

mod fakes;
mod queue;
mod receivers;
