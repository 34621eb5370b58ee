//! Who calls, and whether that user may do what is asked for.
//!
//! Believes only what the bus says about the caller. Root and the daemon's own user may
//! do everything. On the system's bus the members of group `hasher` may submit work;
//! everything else, and everybody else, is for polkit to decide. On a session's bus
//! nobody else may do anything.

use std::path::Path;

use hasher_wire::Status;
use zbus::Connection;
use zbus::fdo::{ConnectionCredentials, DBusProxy};
use zbus::message::Header;
use zbus::names::BusName;

use super::calls::Call;
use super::{Context, MessageBus, polkit};
use crate::core::CallError;
use crate::session::Peer;

/// Members may submit work.
const CLIENT_GROUP: &str = "hasher";

/// What a call needs the right to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    /// Submit work: a session, a search, a digest.
    Submit,
    Pause,
    Reset,
    Configure,
    Reload,
}

impl Right {
    /// The action that polkit knows it by; see `systemd/org.hasher.hasher1.policy`.
    pub(super) const fn action(self) -> &'static str {
        match self {
            Self::Submit => "org.hasher.hasher1.open-session",
            Self::Pause => "org.hasher.hasher1.pause",
            Self::Reset => "org.hasher.hasher1.reset",
            Self::Configure => "org.hasher.hasher1.configure",
            Self::Reload => "org.hasher.hasher1.reload",
        }
    }

    /// What it is, after "may not".
    pub(super) const fn verb(self) -> &'static str {
        match self {
            Self::Submit => "submit work",
            Self::Pause => "pause or resume devices",
            Self::Reset => "reset devices",
            Self::Configure => "change the clock of devices",
            Self::Reload => "reload the configuration",
        }
    }
}

/// A call that was let in. It counts as being carried out until this is dropped.
#[derive(Debug)]
pub(super) struct Pass {
    pub(super) peer: Peer,
    _call: Call,
}

/// Who calls, as the bus says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Caller {
    uid: u32,
    groups: Vec<u32>,
    pid: Option<i32>,
}

/// What is decided without polkit.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Allowed,
    AskPolkit,
    Refused(String),
}

/// Lets a call in if it may be made and is not one too many.
pub(super) async fn enter(
    context: &Context,
    connection: &Connection,
    header: &Header<'_>,
    right: Right,
) -> Result<Pass, CallError> {
    let sender = header
        .sender()
        .ok_or_else(|| refused("the bus names no caller"))?;
    let call = context.calls.begin(sender)?;
    let caller = caller(connection, sender.to_owned().into()).await?;
    let own_uid = rustix::process::geteuid().as_raw();
    match judge(&caller, context.bus, own_uid, client_group(), right) {
        Verdict::Allowed => {}
        Verdict::AskPolkit => polkit::check(connection, header, caller.uid, right).await?,
        Verdict::Refused(why) => return Err(refused(why)),
    }
    let peer = Peer {
        uid: Some(caller.uid),
        pid: caller.pid,
    };
    Ok(Pass { peer, _call: call })
}

async fn caller(connection: &Connection, name: BusName<'_>) -> Result<Caller, CallError> {
    let unknown =
        |error: zbus::fdo::Error| refused(format!("the bus does not say who calls: {error}"));
    let bus = DBusProxy::new(connection).await;
    let bus = bus.map_err(|error| unknown(error.into()))?;
    let credentials = bus
        .get_connection_credentials(name)
        .await
        .map_err(unknown)?;
    from_credentials(credentials)
}

fn from_credentials(credentials: ConnectionCredentials) -> Result<Caller, CallError> {
    let uid = credentials.unix_user_id();
    let uid = uid.ok_or_else(|| refused("the bus does not say which user calls"))?;
    let pid = credentials.process_id();
    Ok(Caller {
        uid,
        pid: pid.and_then(|pid| i32::try_from(pid).ok()),
        groups: credentials.into_unix_group_ids().unwrap_or_default(),
    })
}

fn judge(
    caller: &Caller,
    bus: MessageBus,
    own_uid: u32,
    client_group: Option<u32>,
    right: Right,
) -> Verdict {
    if caller.uid == own_uid {
        return Verdict::Allowed;
    }
    match bus {
        MessageBus::Session | MessageBus::None => Verdict::Refused(format!(
            "this hasherd is that of user {own_uid}; user {} may not {}",
            caller.uid,
            right.verb()
        )),
        MessageBus::System if caller.uid == 0 => Verdict::Allowed,
        MessageBus::System => {
            let is_member = client_group.is_some_and(|group| caller.groups.contains(&group));
            if right == Right::Submit && is_member {
                Verdict::Allowed
            } else {
                Verdict::AskPolkit
            }
        }
    }
}

/// The number of group `hasher`, if this machine has it.
fn client_group() -> Option<u32> {
    // getgrnam needs a C library; a system's group is in the file.
    let groups = std::fs::read_to_string(Path::new("/etc/group")).ok()?;
    group_id(&groups, CLIENT_GROUP)
}

/// The number of a group in the text of `/etc/group`.
fn group_id(groups: &str, name: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    })
}

/// The caller may not do that.
pub(super) fn refused(why: impl Into<String>) -> CallError {
    CallError::failed(Status::NotAllowed, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: u32 = 977;
    const GROUP: u32 = 976;

    fn caller(uid: u32, groups: &[u32]) -> Caller {
        Caller {
            uid,
            groups: groups.to_vec(),
            pid: None,
        }
    }

    const ALL: [Right; 5] = [
        Right::Submit,
        Right::Pause,
        Right::Reset,
        Right::Configure,
        Right::Reload,
    ];

    #[test]
    fn root_and_the_daemons_user_may_do_everything_on_the_systems_bus() {
        for uid in [0, OWN] {
            for right in ALL {
                let verdict = judge(
                    &caller(uid, &[]),
                    MessageBus::System,
                    OWN,
                    Some(GROUP),
                    right,
                );
                assert_eq!(verdict, Verdict::Allowed);
            }
        }
    }

    #[test]
    fn members_of_the_group_may_submit_and_polkit_decides_about_the_rest() {
        for right in ALL {
            let judge = |groups: &[u32], group| {
                judge(&caller(1000, groups), MessageBus::System, OWN, group, right)
            };
            let member = judge(&[100, GROUP], Some(GROUP));
            let expected = match right {
                Right::Submit => Verdict::Allowed,
                _ => Verdict::AskPolkit,
            };
            assert_eq!(member, expected, "{right:?}");
            assert_eq!(judge(&[100], Some(GROUP)), Verdict::AskPolkit);
            assert_eq!(
                judge(&[100, GROUP], None),
                Verdict::AskPolkit,
                "no such group"
            );
        }
    }

    #[test]
    fn on_a_sessions_bus_nobody_else_may_do_anything() {
        for right in ALL {
            let judge = |uid| {
                judge(
                    &caller(uid, &[GROUP]),
                    MessageBus::Session,
                    1000,
                    Some(GROUP),
                    right,
                )
            };
            assert_eq!(judge(1000), Verdict::Allowed);
            for uid in [0, 1001] {
                let Verdict::Refused(why) = judge(uid) else {
                    panic!("{uid} may {right:?}");
                };
                assert!(why.contains("that of user 1000"), "{why}");
            }
        }
    }

    #[test]
    fn a_caller_without_a_user_is_refused() {
        let error = from_credentials(ConnectionCredentials::default()).unwrap_err();
        assert_eq!(error.name(), "org.hasher.Hasher1.Error.NotAllowed");
        let known = ConnectionCredentials::default()
            .set_unix_user_id(5)
            .set_process_id(7)
            .add_unix_group_id(9);
        let expected = Caller {
            pid: Some(7),
            ..caller(5, &[9])
        };
        assert_eq!(from_credentials(known).unwrap(), expected);
    }

    #[test]
    fn a_group_is_found_by_name_in_the_file() {
        let groups = "root:x:0:\nhasherd:x:977:\nhasher:x:976:alice,bob\n";
        assert_eq!(group_id(groups, "hasher"), Some(976));
        assert_eq!(group_id(groups, "hash"), None);
        assert_eq!(group_id("hasher:x", "hasher"), None);
    }
}
