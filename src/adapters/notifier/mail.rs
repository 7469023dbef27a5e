//! Mail, by SMTP.

use std::time::Duration;

use lettre::message::{Mailbox, header};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};

use super::{Message, NotDelivered};
use crate::config::Secret;

/// For each step of the conversation.
const STEP: Duration = Duration::from_secs(15);
/// For the whole of it.
const WHOLE: Duration = Duration::from_secs(60);

/// Mailboxes, and the server that takes mail for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    pub host: String,
    pub port: u16,
    pub security: Security,
    /// User and password.
    pub login: Option<(String, Secret)>,
    pub from: Mailbox,
    pub to: Vec<Mailbox>,
}

/// How the way to the server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// TLS from the first byte; port 465.
    Tls,
    /// TLS after a few words, or no mail; port 587.
    StartTls,
    /// None; port 25.
    Plain,
}

impl Security {
    /// The port that goes with it.
    pub fn port(self) -> u16 {
        match self {
            Self::Tls => 465,
            Self::StartTls => 587,
            Self::Plain => 25,
        }
    }
}

impl Mail {
    pub(super) async fn send(&self, id: &str, message: &Message) -> Result<(), NotDelivered> {
        // The same for each try: mailboxes show a message that came twice once.
        let message_id = format!("<{id}@{}>", self.from.email.domain());
        let mut mail = lettre::Message::builder()
            .from(self.from.clone())
            .message_id(Some(message_id))
            .subject(&message.title)
            .header(header::ContentType::TEXT_PLAIN);
        for to in &self.to {
            mail = mail.to(to.clone());
        }
        let mail = mail.body(message.body.clone()).map_err(|error| not_sent(&error))?;
        let sent = tokio::time::timeout(WHOLE, async { self.transport()?.send(mail).await }).await;
        sent.map_err(|_| NotDelivered(format!("the mail server was not done within {} s", WHOLE.as_secs())))?
            .map_err(|error| not_sent(&error))
            .map(drop)
    }

    fn transport(&self) -> Result<AsyncSmtpTransport<Tokio1Executor>, lettre::transport::smtp::Error> {
        let tls = match self.security {
            Security::Plain => Tls::None,
            Security::Tls => Tls::Wrapper(TlsParameters::new(self.host.clone())?),
            Security::StartTls => Tls::Required(TlsParameters::new(self.host.clone())?),
        };
        let builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&self.host);
        let builder = builder.port(self.port).tls(tls).timeout(Some(STEP));
        Ok(match &self.login {
            Some((user, password)) => builder.credentials(Credentials::new(user.clone(), password.expose().to_owned())),
            None => builder,
        }
        .build())
    }
}

fn not_sent(error: &dyn std::error::Error) -> NotDelivered {
    let mut said = error.to_string();
    let mut inner = error.source();
    while let Some(source) = inner {
        let more = source.to_string();
        if !said.contains(&more) {
            said = format!("{said}: {more}");
        }
        inner = source.source();
    }
    NotDelivered(format!("the mail could not be sent: {said}"))
}
