//! Where the socket is: one rule for the daemon that binds it and the client that
//! connects, as a pure function of the environment.

use std::ffi::OsString;
use std::path::PathBuf;

/// The system daemon's socket.
pub const SYSTEM_SOCKET: &str = "/run/hasher/hasherd.sock";

/// Environment variable that overrides the path.
pub const SOCKET_VARIABLE: &str = "HASHER_SOCKET";

/// Folder of a user's own sockets, set by the login manager.
const RUNTIME_VARIABLE: &str = "XDG_RUNTIME_DIR";

/// What of the environment decides about the socket.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SocketEnvironment {
    /// `HASHER_SOCKET`, if set and not empty.
    pub socket: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`, if set to an absolute path.
    pub runtime_dir: Option<PathBuf>,
}

impl SocketEnvironment {
    /// Looks the variables up, for example with `std::env::var_os`.
    pub fn from_variables(look_up: impl Fn(&str) -> Option<OsString>) -> Self {
        let path = |name| {
            look_up(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        Self {
            socket: path(SOCKET_VARIABLE),
            runtime_dir: path(RUNTIME_VARIABLE).filter(|path| path.is_absolute()),
        }
    }

    /// Where a daemon binds: the override, else the system socket when it runs as
    /// root or as user `hasherd`, else the user's own. Nothing when there is no
    /// folder for the user's own.
    pub fn daemon_socket(&self, is_system: bool) -> Option<PathBuf> {
        self.socket
            .clone()
            .or_else(|| is_system.then(|| SYSTEM_SOCKET.into()))
            .or_else(|| self.user_socket())
    }

    /// Where a client looks, in this order: only the override when there is one,
    /// else the user's own daemon, then the system's. Never empty.
    pub fn client_sockets(&self) -> Vec<PathBuf> {
        match &self.socket {
            Some(socket) => vec![socket.clone()],
            None => self
                .user_socket()
                .into_iter()
                .chain([SYSTEM_SOCKET.into()])
                .collect(),
        }
    }

    fn user_socket(&self) -> Option<PathBuf> {
        Some(self.runtime_dir.as_ref()?.join("hasher/hasherd.sock"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> SocketEnvironment {
        SocketEnvironment::from_variables(|name| {
            let (_, value) = variables.iter().find(|(key, _)| *key == name)?;
            Some(value.into())
        })
    }

    #[test]
    fn the_override_wins_on_both_sides() {
        let environment = environment(&[("HASHER_SOCKET", "my.sock"), ("XDG_RUNTIME_DIR", "/u")]);
        assert_eq!(environment.daemon_socket(true), Some("my.sock".into()));
        assert_eq!(environment.client_sockets(), [PathBuf::from("my.sock")]);
    }

    #[test]
    fn a_user_has_an_own_socket_and_the_system_another() {
        let environment = environment(&[("HASHER_SOCKET", ""), ("XDG_RUNTIME_DIR", "/run/user/7")]);
        let own = PathBuf::from("/run/user/7/hasher/hasherd.sock");
        assert_eq!(environment.daemon_socket(false), Some(own.clone()));
        assert_eq!(environment.daemon_socket(true), Some(SYSTEM_SOCKET.into()));
        assert_eq!(environment.client_sockets(), [own, SYSTEM_SOCKET.into()]);
    }

    #[test]
    fn without_a_runtime_folder_only_the_system_socket_is_left() {
        let environment = environment(&[("XDG_RUNTIME_DIR", "relative")]);
        assert_eq!(environment.daemon_socket(false), None);
        assert_eq!(environment.client_sockets(), [PathBuf::from(SYSTEM_SOCKET)]);
    }
}
