//! Telling people: one file for each way of doing it.
//!
//! Nothing here retries or remembers; a delivery works or gives the reason why not, and that reason holds no secret.

mod error;
mod gotify;
mod http;
mod mail;
mod ntfy;
mod program;
mod receiver;
mod template;
mod webhook;

pub use error::NotDelivered;
pub use gotify::Gotify;
pub use mail::{Mail, Security};
pub use ntfy::Ntfy;
pub use program::Program;
pub use receiver::{Channel, Notifier, Receiver};
pub use template::{DEFAULT_BODY, DEFAULT_TITLE, Message, check};
pub use webhook::Webhook;
