//! Receivers on loopback that remember what they got.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use crate::world::until;

/// What a receiver got over HTTP.
#[derive(Debug, Clone)]
pub struct Got {
    pub uri: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Got {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

#[derive(Default)]
struct Inner {
    got: Vec<Got>,
    /// What is answered first; then 200.
    answers: VecDeque<u16>,
    /// What has this in it is refused.
    refuses: Option<&'static str>,
}

/// A server that takes everything.
#[derive(Clone)]
pub struct HttpReceiver {
    inner: Arc<Mutex<Inner>>,
    pub url: String,
}

impl HttpReceiver {
    pub async fn start() -> Self {
        Self::that_answers(&[]).await
    }

    /// One that does not like a word.
    pub async fn that_refuses(word: &'static str) -> Self {
        let receiver = Self::start().await;
        receiver.inner.lock().unwrap().refuses = Some(word);
        receiver
    }

    /// One that answers with these first.
    pub async fn that_answers(answers: &[u16]) -> Self {
        let inner = Inner { answers: answers.iter().copied().collect(), ..Inner::default() };
        let inner = Arc::new(Mutex::new(inner));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new().fallback(take).with_state(inner.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { inner, url }
    }

    pub fn got(&self) -> Vec<Got> {
        self.inner.lock().unwrap().got.clone()
    }

    /// Waits until so many have come.
    pub async fn wait_for(&self, count: usize) -> Vec<Got> {
        until("messages", || Some(self.got()).filter(|got| got.len() >= count)).await
    }
}

async fn take(
    State(inner): State<Arc<Mutex<Inner>>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, [(&'static str, &'static str); 1]) {
    let mut inner = inner.lock().unwrap();
    inner.got.push(Got { uri: uri.to_string(), headers, body });
    let refused = inner.refuses.is_some_and(|word| inner.got.last().unwrap().json().to_string().contains(word));
    let status = inner.answers.pop_front().unwrap_or(if refused { 400 } else { 200 });
    (StatusCode::from_u16(status).unwrap(), [("location", "/elsewhere")])
}

/// A mail server for one mail at a time. Gives its port, and what it got: each line, and the mails as one text each.
pub async fn mail_server() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let lines = Arc::new(Mutex::new(Vec::new()));
    let heard = lines.clone();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let (read, mut write) = socket.split();
            let mut read = BufReader::new(read).lines();
            write.write_all(b"220 mx ready\r\n").await.unwrap();
            let mut in_mail = false;
            while let Ok(Some(line)) = read.next_line().await {
                let answer = match line.as_str() {
                    "." => {
                        in_mail = false;
                        "250 taken\r\n"
                    }
                    _ if in_mail => "",
                    "DATA" => {
                        in_mail = true;
                        "354 go on\r\n"
                    }
                    "QUIT" => "221 bye\r\n",
                    hello if hello.starts_with("EHLO") => "250-mx\r\n250 AUTH PLAIN\r\n",
                    login if login.starts_with("AUTH") => "235 welcome\r\n",
                    _ => "250 ok\r\n",
                };
                heard.lock().unwrap().push(line);
                write.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    });
    (port, lines)
}
