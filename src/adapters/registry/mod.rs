//! Asks registries which digest an image reference means there now. Nothing is pulled.
//!
//! The rules are those of the distribution specification and of the Docker CLI and engine, so that the answer is the one
//! that `docker pull` would act on:
//!
//! * One question is one `HEAD` of the manifest (`client`); a `GET` follows only where the registry cannot answer a
//!   `HEAD`, because registries count a `GET` as a pull. "Too many requests" is an answer, never a reason to try again.
//! * The first contact with a host finds out, once for all callers, whether it speaks https or plain http and how it
//!   wants to be asked for credentials (`contact`). Later questions use that and cost one request each.
//! * Tokens are fetched once for each registry, scope and login and shared until they expire (`token`).
//! * Credentials come from Docker's `config.json` or from a Podman auth file, as they are at the moment of the question
//!   (`credentials`), and go only where they were meant to go (`realm`, `exchange`).
//! * What is asked of Docker Hub goes to the engine's mirrors first (`mirrors`), since that is where a pull looks.
//! * A host that limits, or cannot be reached, delays nobody but those who ask it (`hosts`).
//!
//! Start reading in `client`.

mod backoff;
mod challenge;
mod client;
mod contact;
mod content;
mod credentials;
mod docker_config;
mod error;
mod exchange;
mod grant;
mod helper;
mod hosts;
mod insecure;
mod login;
mod manifest;
mod mirrors;
mod realm;
mod stats;
mod tls;
mod token;

pub use client::{Registry, RegistryOptions};
pub use content::{Content, IndexEntry, details, for_platform};
pub use error::RegistryError;
pub use manifest::RemoteDigest;
pub use mirrors::Mirrors;
pub use stats::RequestKind;
pub(in crate::adapters) use tls::install_provider;
