//! Docker's image routes, with an engine that does what a test tells it to.

mod history;
mod raw;
mod refusing;
mod streams;
