//! Jobs that run: they belong to the service, not to the request that asked for them.

mod handle;
mod life;
mod running;
mod start;
mod table;
mod wait;

pub use handle::Ticket;
pub use handle::Wish;
pub(super) use handle::cancelled;
pub use running::Running;
pub use table::Jobs;
pub use wait::no_such_job;
