//! What Restock refuses itself on Docker's routes.

use crate::domain::image::ReferenceError;
use crate::error::{Code, Error, Kind};

/// What Restock refuses here itself. It is told in the engine's shape, which has no room for a code.
pub fn refusal(message: impl Into<String>, kind: Kind) -> Error {
    Error { kind, ..Error::new(Code::DockerApi, message) }
}

/// The refusal of a text that is no reference.
pub fn bad_reference(error: &ReferenceError) -> Error {
    refusal(error.to_string(), Kind::Invalid)
}
