//! Serves the routes until the service is told to stop.

use std::io;

use super::router::{Http, router};

/// What the service listens on.
pub enum Listener {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

/// Answers requests until `http.restock.stopping` fires and the answers under way are written.
pub async fn serve(http: Http, listener: Listener) -> io::Result<()> {
    let stopping = http.restock.stopping.clone();
    let stop = async move { stopping.cancelled().await };
    let routes = router(http);
    match listener {
        Listener::Tcp(listener) => {
            let service = routes.into_make_service_with_connect_info::<std::net::SocketAddr>();
            axum::serve(listener, service).with_graceful_shutdown(stop).await
        }
        Listener::Unix(listener) => axum::serve(listener, routes).with_graceful_shutdown(stop).await,
    }
}
