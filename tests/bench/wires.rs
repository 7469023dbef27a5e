//! The other ends of wires, for what real parts would be too slow or too many for.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A proxy in front of `to` behind which every round trip takes `round_trip` longer, the first of a connection as well.
pub fn delayed(to: &str, round_trip: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let to = to.to_owned();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let to = to.clone();
            std::thread::spawn(move || {
                std::thread::sleep(round_trip);
                let server = TcpStream::connect(to).unwrap();
                let (from_client, to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || pass(from_client, to_server, round_trip / 2));
                pass(server, client, round_trip / 2);
            });
        }
    });
    address
}

fn pass(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        std::thread::sleep(delay);
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    // Whoever reads on sees the end; one that has gone needs none.
    let _ = to.shutdown(Shutdown::Write);
}

/// A running container of a fake engine: its image, and the digest by which the engine knows that.
pub struct Fake {
    pub image: String,
    pub digest: String,
    /// The app and the service that it belongs to, if it belongs to one.
    pub service: Option<(String, String)>,
}

/// An engine that has these containers, each marked for updates; counts the lists of containers it is asked for.
pub fn engine(socket: &Path, containers: &[Fake]) -> Arc<AtomicUsize> {
    let image_id = |fake: &Fake| format!("sha256:{:x}", Sha256::digest(&fake.image));
    let listed = containers.iter().enumerate().map(|(n, fake)| {
        let mut labels = json!({"restock.auto-update": "registry"});
        if let Some((app, service)) = &fake.service {
            labels["com.docker.compose.project"] = app.as_str().into();
            labels["com.docker.compose.service"] = service.as_str().into();
        }
        json!({
            "Id": format!("{n:064x}"), "Names": [format!("/container-{n}")], "Image": fake.image, "ImageID": image_id(fake),
            "State": "running", "Status": "Up 1 hour", "Labels": labels,
        })
    });
    let known: BTreeMap<_, _> = containers.iter().map(|fake| (image_id(fake), fake)).collect();
    let images = known.iter().map(|(id, fake)| {
        let repository = fake.image.rsplit_once(':').map_or(fake.image.as_str(), |(repository, _)| repository);
        json!({"Id": id, "RepoTags": [], "RepoDigests": [format!("{repository}@{}", fake.digest)]})
    });
    let (list, images) = (Value::from_iter(listed).to_string(), Value::from_iter(images).to_string());
    let (list, images) = (Arc::new(list), Arc::new(images));
    let lists = Arc::new(AtomicUsize::new(0));
    let (listener, counted) = (UnixListener::bind(socket).unwrap(), lists.clone());
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let (list, images, counted) = (list.clone(), images.clone(), counted.clone());
            std::thread::spawn(move || answer(client, &list, &images, &counted));
        }
    });
    lists
}

fn answer(mut client: UnixStream, list: &str, images: &str, counted: &AtomicUsize) {
    let mut got = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        while let Some(end) = got.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&got[..end]).into_owned();
            got.drain(..end + 4);
            let body = match head.split(' ').nth(1).unwrap_or_default() {
                path if path.contains("/containers/json") => {
                    counted.fetch_add(1, Ordering::Relaxed);
                    list
                }
                path if path.contains("/images/json") => images,
                path if path.contains("/events") => {
                    // Heard, and nothing happens.
                    client
                        .write_all(
                            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
                        )
                        .unwrap();
                    continue;
                }
                path if path.contains("/version") => r#"{"Version": "28.5.2", "ApiVersion": "1.51"}"#,
                _ => "{}",
            };
            let length = body.len();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n");
            if client.write_all(format!("{head}{body}").as_bytes()).is_err() {
                return;
            }
        }
        match client.read(&mut buffer) {
            Ok(read @ 1..) => got.extend_from_slice(&buffer[..read]),
            _ => return,
        }
    }
}
