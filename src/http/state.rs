//! What handlers share.

use std::sync::Arc;

use super::kept::Kept;
use crate::adapters::flights::Flights;
use crate::config::DockerApi;
use crate::error::Error;
use crate::usecases::access::Access;
use crate::usecases::{Host, Restock};
use crate::views::{Check, Checks};

/// The state of every handler. Cheap to clone.
#[derive(Clone)]
pub struct Http {
    pub(super) restock: Arc<Restock>,
    pub(super) access: Arc<Access>,
    /// The list of images as it was last written: from which snapshot and which answers of registries.
    pub(super) rendered: Arc<Kept<(u64, u64)>>,
    /// The list of apps as it was last written: from which look, for which name of this machine.
    pub(super) apps: Arc<Kept<(u64, Option<String>)>>,
    /// What was last found to be ready.
    pub(super) readiness: Arc<Found>,
    /// Names besides addresses and `localhost` that a `Host` header may have.
    pub(super) allowed_hosts: Arc<[String]>,
    /// How much of Docker's image routes is open.
    pub(super) docker_api: DockerApi,
}

impl Http {
    /// The host of what has no host in its name.
    pub(super) fn local(&self) -> Result<&Arc<Host>, Error> {
        self.restock.local()
    }

    /// Handlers' state around the use cases.
    pub fn new(restock: Arc<Restock>, access: Arc<Access>, allowed_hosts: Vec<String>, docker_api: DockerApi) -> Self {
        Self {
            restock,
            access,
            rendered: Arc::default(),
            apps: Arc::default(),
            readiness: Arc::default(),
            allowed_hosts: allowed_hosts.into(),
            docker_api,
        }
    }
}

/// What was last found. However many ask, two looks at a time are enough.
#[derive(Default)]
pub struct Found {
    pub(super) checks: Flights<Checks>,
    pub(super) database: Flights<Check>,
}
