//! Takes the address that the service listens on.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use tokio::net::{TcpListener, UnixListener, UnixStream};

use crate::config::Listen;
use crate::http::Listener;

/// The socket is for its owner and group, as the engine's own is.
const SOCKET_MODE: u32 = 0o660;

/// Listens, and says where: a port 0 has become a real one.
pub async fn bind(listen: &Listen) -> io::Result<(Listener, Listen)> {
    match listen {
        Listen::Tcp(address) => {
            let listener = TcpListener::bind(address).await?;
            let address = Listen::Tcp(listener.local_addr()?);
            Ok((Listener::Tcp(listener), address))
        }
        Listen::Unix(path) => Ok((Listener::Unix(bind_unix(path).await?), listen.clone())),
    }
}

async fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    if is_left_over(path).await {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE))?;
    Ok(listener)
}

/// Returns whether the file is what a service that was killed has left: a socket on which nobody answers.
///
/// A file of another kind is somebody's, and a socket that refuses for another reason (permissions) is in use.
async fn is_left_over(path: &Path) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    is_socket && UnixStream::connect(path).await.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// Removes the socket's file; of a TCP address nothing is left.
pub fn clean_up(listen: &Listen) {
    if let Listen::Unix(path) = listen
        && let Err(error) = std::fs::remove_file(path)
    {
        tracing::debug!(%error, "the socket's file could not be removed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_is_told_as_it_came_to_be() {
        let (_listener, bound) = bind(&"127.0.0.1:0".parse().unwrap()).await.unwrap();
        assert!(matches!(bound, Listen::Tcp(address) if address.port() != 0));
        let error = bind(&bound).await.map(drop).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[tokio::test]
    async fn a_socket_that_nobody_answers_on_is_replaced_and_one_in_use_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        // Dropping a listener leaves its file, as a process that is killed does.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let listen = Listen::Unix(path.clone());
        let (_listener, _) = bind(&listen).await.unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, SOCKET_MODE);
        assert!(bind(&listen).await.is_err());
        assert!(UnixStream::connect(&path).await.is_ok());
        clean_up(&listen);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notes");
        std::fs::write(&path, "precious").unwrap();
        assert!(bind(&Listen::Unix(path.clone())).await.is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }
}
