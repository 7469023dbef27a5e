//! Docker's image routes: the Docker CLI works against Restock for images, and for nothing else.
//!
//! A request is found in one exact table, its names are parsed, and what the engine is then asked is written anew from
//! what was understood: engine and Restock cannot read one request in two ways. Bodies pass through as they come.

mod escape;
mod handle;
mod query;
mod refusal;
mod relay;
mod table;
mod upload;

pub use handle::handle;
pub use table::is_engine_path;
