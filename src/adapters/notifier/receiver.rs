//! Who is told, and how.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use super::template::{Message, render};
use super::{Gotify, Mail, NotDelivered, Ntfy, Program, Webhook};
use crate::domain::notice::{Event, Notice};

/// One receiver, as the configuration describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receiver {
    /// What it is called in logs and tables, and by what its waiting messages are found again: unique.
    pub name: String,
    pub events: BTreeSet<Event>,
    /// Templates that have been checked.
    pub title: String,
    pub body: String,
    pub channel: Channel,
}

/// The way to a receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Channel {
    Webhook(Webhook),
    Ntfy(Ntfy),
    Gotify(Gotify),
    Mail(Mail),
    Program(Program),
}

/// All receivers.
#[derive(Debug, Default)]
pub struct Notifier {
    receivers: Vec<Receiver>,
    environment: BTreeMap<OsString, OsString>,
}

impl Notifier {
    /// The receivers, and the environment that programs among them get.
    pub fn new(receivers: Vec<Receiver>, environment: BTreeMap<OsString, OsString>) -> Self {
        Self { receivers, environment }
    }

    /// Everybody who may be told.
    pub fn receivers(&self) -> &[Receiver] {
        &self.receivers
    }

    /// Brings a message to one receiver. `id` is the same for each try, so that a receiver can tell a second one.
    pub async fn deliver(&self, receiver: &Receiver, id: &str, notice: &Notice) -> Result<(), NotDelivered> {
        let message = Message {
            title: render(&receiver.title, notice)?.split_whitespace().collect::<Vec<_>>().join(" "),
            body: render(&receiver.body, notice)?.trim().to_owned(),
        };
        match &receiver.channel {
            Channel::Webhook(webhook) => webhook.send(id, notice, &message).await,
            Channel::Ntfy(ntfy) => ntfy.send(&message).await,
            Channel::Gotify(gotify) => gotify.send(&message).await,
            Channel::Mail(mail) => mail.send(id, &message).await,
            Channel::Program(program) => program.run(&message, &self.environment).await,
        }
    }
}

impl Channel {
    /// The word for it in the configuration.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Ntfy(_) => "ntfy",
            Self::Gotify(_) => "gotify",
            Self::Mail(_) => "mail",
            Self::Program(_) => "command",
        }
    }
}
