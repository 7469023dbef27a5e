//! The program's own listener, with more connections than it may have files.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::{Program, World, soon};

#[tokio::test]
async fn connections_that_say_nothing_stop_nothing() {
    let files = restock::adapters::files::raise_limit();
    assert!(files > 4000, "this test needs a hard limit of open files above 4,000; it is {files}");
    // A soft limit, as systemd gives it, and a hard one.
    for limit in ["-S -n 1024", "-n 1024"] {
        let world = World::with_new_web();
        let program = Program::serve(&world, limit, &[]).await;
        let address = &program.address;
        let mut idle = Vec::new();
        for n in 0..1100 {
            let mut stream = soon("a connection", TcpStream::connect(address)).await.unwrap();
            if n % 2 == 0 {
                // Where it had to make room already, the other end is gone.
                let _ = stream.write_all(b"GET /health HTTP/1.1\r\nHos").await;
            }
            idle.push(stream);
        }
        for request in ["GET /health", "GET /api/apps"] {
            let answer = program.ask(request).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{limit}: {request}: {answer}");
        }
        let updated = program.ask("POST /api/apps/web/update").await;
        assert!(updated.contains("\"outcome\":\"updated\""), "{limit}: {updated}");
    }
}

#[tokio::test]
async fn a_request_may_have_as_many_headers_as_the_engine_takes_and_names_one_host() {
    let world = World::with_web();
    let program = Program::serve(&world, "-S -n 1024", &[]).await;
    let address = &program.address;
    let many: String = (0..900).map(|n| format!("\r\nX-Meta-{n}: {n}")).collect();
    let answer = program.ask(&format!("GET /health{many}")).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let answer = program.ask("GET /health\r\nHost: localhost").await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("bad_host"), "{answer}");
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    soon("an answer", stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("bad_host"), "{answer}");
}
