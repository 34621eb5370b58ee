//! The file of a socket that the daemon binds itself.
//!
//! Owns the file and a lock beside it, so that of several daemons for one path only
//! one touches the file, and removes both in the end. It accepts nobody; the
//! [`listener`](crate::listener) does and calls this.

use std::fs::{File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tracing::info;

use crate::core::SESSIONS_MAX;
use crate::listener::ListenError;

/// Clients that may wait to be accepted, which takes the daemon microseconds: as many as
/// it may have places, for those that all start at once.
const BACKLOG: i32 = SESSIONS_MAX as i32;

/// How often a lock is taken that its last holder has just removed; each time another
/// daemon has started and ended in between.
const LOCK_TRIES: usize = 100;

/// Only the daemon's user may lock, or anybody could keep daemons from starting.
const LOCK_MODE: u32 = 0o600;

/// A bound socket's file; removed when this is dropped, unless it is another's by then.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    node: Node,
    /// Released after the socket is removed.
    _lock: LockFile,
}

/// Which file it is, whatever its name: device and inode.
type Node = (u64, u64);

fn node(file: &Metadata) -> Node {
    (file.dev(), file.ino())
}

/// An error of the system on `path`.
fn refused(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ListenError {
    let path = path.to_owned();
    move |source| ListenError::Io {
        action,
        path,
        source,
    }
}

impl SocketFile {
    /// Binds `path` and listens; a socket that nobody listens on any more is replaced.
    ///
    /// # Errors
    /// [`ListenError`] names what is in the way.
    pub(crate) fn bind(
        path: &Path,
        mode: u32,
        group: Option<u32>,
    ) -> Result<(UnixListener, Self), ListenError> {
        let lock = LockFile::take(path)?;
        remove_stale(path)?;
        let (socket, file) = Self::bind_deaf(path, mode, group, lock)?;
        rustix::net::listen(&socket, BACKLOG)
            .map_err(|error| refused("listen on", path)(error.into()))?;
        Ok((UnixListener::from(socket), file))
    }

    /// Binds `path` without listening: until the file has its mode nobody may connect.
    fn bind_deaf(
        path: &Path,
        mode: u32,
        group: Option<u32>,
        lock: LockFile,
    ) -> Result<(OwnedFd, Self), ListenError> {
        let bound = || {
            let address = SocketAddrUnix::new(path)?;
            let (family, flags) = (AddressFamily::UNIX, SocketFlags::CLOEXEC);
            let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
            rustix::net::bind(&socket, &address)?;
            std::fs::symlink_metadata(path).map(|file| (socket, node(&file)))
        };
        let (socket, node) = bound().map_err(refused("bind", path))?;
        let file = Self {
            path: path.to_owned(),
            node,
            _lock: lock,
        };
        if group.is_some() {
            std::os::unix::fs::lchown(path, None, group)
                .map_err(refused("set the group of", path))?;
        }
        std::fs::set_permissions(path, Permissions::from_mode(mode))
            .map_err(refused("set the mode of", path))?;
        Ok((socket, file))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let found = std::fs::symlink_metadata(&self.path);
        if found.is_ok_and(|found| node(&found) == self.node) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Removes a socket file that nobody listens on. The caller holds the lock.
fn remove_stale(path: &Path) -> Result<(), ListenError> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(refused("look at", path)(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(ListenError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    // The lock says nothing of a socket that systemd or another program bound.
    match UnixStream::connect(path) {
        Ok(_) => Err(ListenError::InUse(path.to_owned())),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            info!(path = %path.display(), "stale socket removed");
            std::fs::remove_file(path).map_err(refused("remove the stale", path))
        }
        Err(error) => Err(refused("connect to", path)(error)),
    }
}

/// A locked file beside the socket. The system releases the lock of a daemon that was
/// killed; the file it leaves behind is used again.
#[derive(Debug)]
struct LockFile {
    path: PathBuf,
    _file: File,
}

impl LockFile {
    fn take(socket: &Path) -> Result<Self, ListenError> {
        let mut path = socket.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        for _ in 0..LOCK_TRIES {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(LOCK_MODE)
                .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
                .open(&path)
                .map_err(refused("open the lock", &path))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => break,
                Err(TryLockError::Error(error)) => return Err(refused("lock", &path)(error)),
            }
            let locked = file.metadata().map_err(refused("look at", &path))?;
            let named = std::fs::symlink_metadata(&path);
            if named.is_ok_and(|named| node(&named) == node(&locked)) {
                return Ok(Self { path, _file: file });
            }
        }
        Err(ListenError::InUse(socket.to_owned()))
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // Still locked, so the name is ours; who waits for it looks at the name again.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    const MODE: u32 = 0o660;

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hasherd.sock");
        (folder, path)
    }

    fn leave_stale(path: &Path) {
        drop(UnixListener::bind(path).unwrap());
        assert!(path.exists(), "std leaves the file behind");
    }

    #[test]
    fn nobody_can_connect_before_the_file_has_its_mode() {
        let (_folder, path) = folder();
        let lock = LockFile::take(&path).unwrap();
        let (socket, _file) = SocketFile::bind_deaf(&path, MODE, None, lock).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, MODE);
        let error = UnixStream::connect(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        rustix::net::listen(&socket, BACKLOG).unwrap();
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn of_daemons_that_start_together_one_listens() {
        const DAEMONS: usize = 4;
        let (folder, path) = folder();
        for _ in 0..100 {
            leave_stale(&path);
            let (start, bound) = (Barrier::new(DAEMONS), Barrier::new(DAEMONS));
            let start_one = || {
                start.wait();
                let file = SocketFile::bind(&path, MODE, None);
                bound.wait(); // so that none begins when another has ended
                if file.is_ok() {
                    UnixStream::connect(&path).unwrap();
                }
                file.map(drop)
            };
            let ends: Vec<_> = std::thread::scope(|scope| {
                let daemons: Vec<_> = (0..DAEMONS).map(|_| scope.spawn(start_one)).collect();
                daemons.into_iter().map(|d| d.join().unwrap()).collect()
            });
            let listening = ends.iter().filter(|end| end.is_ok()).count();
            assert_eq!(listening, 1, "{ends:?}");
            let is_in_use = |end: &_| matches!(end, Ok(()) | Err(ListenError::InUse(_)));
            assert!(ends.iter().all(is_in_use), "{ends:?}");
            let left = std::fs::read_dir(folder.path()).unwrap().count();
            assert_eq!(left, 0, "nothing is left behind");
        }
    }

    #[test]
    fn a_daemon_that_ends_leaves_the_socket_of_its_successor() {
        let (_folder, path) = folder();
        let (_listener, file) = SocketFile::bind(&path, MODE, None).unwrap();
        std::fs::remove_file(&path).unwrap();
        let _successor = UnixListener::bind(&path).unwrap();
        drop(file);
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn a_lock_that_a_killed_daemon_left_is_used_again() {
        let (_folder, path) = folder();
        std::fs::write(path.with_extension("sock.lock"), "").unwrap();
        leave_stale(&path);
        let (_listener, file) = SocketFile::bind(&path, MODE, None).unwrap();
        assert!(matches!(
            SocketFile::bind(&path, MODE, None),
            Err(ListenError::InUse(_))
        ));
        drop(file);
        assert!(!path.with_extension("sock.lock").exists());
    }
}
