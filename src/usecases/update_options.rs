//! What an update of an app is asked to do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::domain::app::ServiceName;
use crate::domain::image::ImageId;

/// What the caller of an update can choose.
#[derive(Debug, Clone, Default)]
pub struct UpdateOptions {
    /// Leave a failed update as it is.
    pub no_rollback: bool,
    /// Only these services and what depends on their namespaces; empty means all.
    pub services: BTreeSet<String>,
    /// What a pass over many apps has found out and fetched for all of them.
    pub prepared: Option<Arc<Prepared>>,
}

/// What a pass has done already: then a pull is only for what is still missing.
#[derive(Debug)]
pub struct Prepared {
    /// The services whose registry has a newer image; the others are not pulled.
    pub newer: BTreeSet<ServiceName>,
    /// The services that are to be changed: those, and the ones that follow what is here.
    pub due: BTreeSet<ServiceName>,
    /// The images that were pulled, by the complete form of their references.
    pub pulled: Arc<BTreeMap<String, ImageId>>,
    /// `repository@digest` of each image before anything was pulled.
    pub digests: BTreeMap<String, Vec<String>>,
}
