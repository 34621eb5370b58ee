//! The socket: taken over from systemd or bound here, and its clients let in.
//!
//! Owns the listening socket. Who may open its file is decided by the file's mode and
//! group, and how many at once by the [`door`](crate::door).
//! Called by [`run`](crate::run()).

use std::fs::DirBuilder;
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use listenfd::ListenFd;
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::client_socket::ClientSocket;
use crate::door::Door;
use crate::session::{self, Peer};
use crate::socket_file::SocketFile;

/// Name of our socket among those that systemd passes (`FileDescriptorName=`).
const ACTIVATED_NAME: &str = "jobs";
/// Where systemd names them, separated by colons.
const ACTIVATED_NAMES_VARIABLE: &str = "LISTEN_FDNAMES";

/// Rest after a failed `accept` (no free descriptors), which would fail again at
/// once.
const ACCEPT_REST: Duration = Duration::from_millis(200);

/// Who may open a socket that the daemon binds itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    folder_mode: u32,
    mode: u32,
    group: Option<u32>,
}

impl Access {
    /// Of the system's daemon: the file's group may connect, too. That is the folder's if
    /// the folder says so (`systemd/hasher-tmpfiles.conf`), else the daemon's.
    pub const fn of_system() -> Self {
        Self {
            folder_mode: 0o755,
            mode: 0o660,
            group: None,
        }
    }

    /// Of a user's own daemon: nobody else may connect.
    pub const fn of_user() -> Self {
        Self {
            folder_mode: 0o700,
            mode: 0o600,
            group: None,
        }
    }

    /// With another mode of the file, if one is given.
    #[must_use]
    pub fn with_mode(self, mode: Option<u32>) -> Self {
        let mode = mode.unwrap_or(self.mode);
        Self { mode, ..self }
    }

    /// With this group of the file, if one is given.
    #[must_use]
    pub const fn with_group(self, group: Option<u32>) -> Self {
        Self { group, ..self }
    }
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// Another daemon answers there.
    #[error("another hasherd listens on {0}")]
    InUse(PathBuf),
    /// Something else is in the way.
    #[error("{0} exists and is not a socket")]
    NotASocket(PathBuf),
    /// The system refused.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// systemd passed sockets, but none with our name, or not a listening one.
    #[error("systemd passed no listening stream socket named {ACTIVATED_NAME:?}")]
    NotActivated,
}

impl ListenError {
    /// Whether the user lacks the right to it.
    pub fn is_permission(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == ErrorKind::PermissionDenied)
    }
}

/// A listening socket.
#[derive(Debug)]
pub struct Listener {
    listener: UnixListener,
    /// Removed when the listener is dropped; nothing when systemd owns it.
    file: Option<SocketFile>,
}

impl Listener {
    /// The socket that systemd passed under the name `jobs`, if it passed any.
    /// Call it inside the runtime and once.
    ///
    /// # Errors
    /// [`ListenError::NotActivated`] when what was passed is not that socket.
    pub fn from_systemd() -> Result<Option<Self>, ListenError> {
        let passed = |_| ListenError::NotActivated;
        let mut sockets = ListenFd::from_env();
        if sockets.len() == 0 {
            return Ok(None);
        }
        // The names stand in the order of the sockets; the library leaves them to us.
        let names = std::env::var(ACTIVATED_NAMES_VARIABLE).unwrap_or_default();
        let index = names
            .split(':')
            .position(|name| name == ACTIVATED_NAME)
            .ok_or(ListenError::NotActivated)?;
        let listener = sockets
            .take_unix_listener(index)
            .map_err(passed)?
            .ok_or(ListenError::NotActivated)?;
        listener.set_nonblocking(true).map_err(passed)?;
        let listener = UnixListener::from_std(listener).map_err(passed)?;
        info!("socket taken over from systemd");
        Ok(Some(Self {
            listener,
            file: None,
        }))
    }

    /// Binds `path`. A socket file that nobody listens on any more is replaced; a
    /// missing folder is made. Call it inside the runtime.
    ///
    /// # Errors
    /// [`ListenError`] names what is in the way.
    pub fn bind(path: &Path, access: Access) -> Result<Self, ListenError> {
        let io = |action| {
            let path = path.to_owned();
            move |source| ListenError::Io {
                action,
                path,
                source,
            }
        };
        if let Some(folder) = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            let made = DirBuilder::new()
                .recursive(true)
                .mode(access.folder_mode)
                .create(folder);
            made.map_err(io("create the folder of"))?;
        }
        let (listener, file) = SocketFile::bind(path, access.mode, access.group)?;
        listener.set_nonblocking(true).map_err(io("watch"))?;
        let listener = UnixListener::from_std(listener).map_err(io("watch"))?;
        info!(path = %path.display(), "socket bound");
        let file = Some(file);
        Ok(Self { listener, file })
    }

    /// Its path, as far as it has one that can be written.
    pub(crate) fn path(&self) -> Option<String> {
        let address = self.listener.local_addr().ok()?;
        Some(address.as_pathname()?.to_str()?.to_owned())
    }

    /// Lets clients in until `stop`; then no new ones come and the file is gone.
    pub(crate) async fn run(self, door: Door, stop: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = stop.cancelled() => break,
            };
            match accepted {
                Ok((stream, _)) => {
                    if let Err(error) = admit(stream, &door).await {
                        warn!(%error, "cannot watch a client");
                    }
                }
                Err(error) => {
                    warn!(%error, "cannot accept a client");
                    tokio::time::sleep(ACCEPT_REST).await;
                }
            }
        }
        drop(self.file);
    }
}

async fn admit(stream: UnixStream, door: &Door) -> io::Result<()> {
    let peer = stream.peer_cred().map_or_else(
        |_| Peer::default(),
        |peer| Peer {
            uid: Some(peer.uid()),
            pid: peer.pid(),
        },
    );
    let stream = ClientSocket::new(stream.into_std()?)?;
    if let Err((stream, full)) = door.admit(stream, peer) {
        session::turn_away(stream, full).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    fn path(folder: &tempfile::TempDir) -> PathBuf {
        folder.path().join("hasher").join("hasherd.sock")
    }

    #[tokio::test]
    async fn the_socket_and_its_folder_are_for_the_user_only_and_go_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(&folder);
        let listener = Listener::bind(&path, Access::of_user()).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        drop(listener);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn the_systems_socket_is_for_the_group_of_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        // Only root may give a folder to a group that it is not in.
        let group = rustix::process::geteuid().is_root().then_some(4242);
        std::os::unix::fs::chown(folder.path(), None, group).unwrap();
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o2755)).unwrap();
        let path = folder.path().join("hasherd.sock");
        let _listener = Listener::bind(&path, Access::of_system()).unwrap();
        let socket = std::fs::metadata(&path).unwrap();
        assert_eq!(socket.permissions().mode() & 0o777, 0o660);
        let folder = std::fs::metadata(folder.path()).unwrap();
        assert_eq!(socket.gid(), group.unwrap_or(folder.gid()));
    }

    #[tokio::test]
    async fn the_socket_has_the_mode_and_the_group_that_are_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(&folder);
        // Who is not root may give a file to a group of their own only.
        let is_root = rustix::process::geteuid().is_root();
        let own = rustix::process::getegid().as_raw();
        let group = if is_root { 4242 } else { own };
        let access = Access::of_user()
            .with_mode(Some(0o666))
            .with_group(Some(group));
        let _listener = Listener::bind(&path, access).unwrap();
        let socket = std::fs::metadata(&path).unwrap();
        assert_eq!(
            (socket.permissions().mode() & 0o777, socket.gid()),
            (0o666, group)
        );
        let folder = std::fs::metadata(path.parent().unwrap()).unwrap();
        assert_eq!(folder.permissions().mode() & 0o777, 0o700);
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hasherd.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "std leaves the file behind");
        let listener = Listener::bind(&path, Access::of_user()).unwrap();
        let error = Listener::bind(&path, Access::of_user()).unwrap_err();
        assert!(matches!(error, ListenError::InUse(_)), "{error}");
        assert!(path.exists(), "the live socket is untouched");
        drop(listener);
    }

    #[tokio::test]
    async fn a_file_in_the_way_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hasherd.sock");
        std::fs::write(&path, "precious").unwrap();
        let error = Listener::bind(&path, Access::of_user()).unwrap_err();
        assert!(matches!(error, ListenError::NotASocket(_)), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }
}
