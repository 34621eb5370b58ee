//! Room for every client's descriptor.
//!
//! Raises the process's own limit of open files, up to what the system allows it, to what
//! the configured sessions need. Where it cannot (a unit's filter of system calls), the
//! limit must be set for it: `LimitNOFILE=` in `systemd/hasherd.service`. Called when
//! settings take effect.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Descriptors besides the clients': boards on USB, the bus, the log, the runtime.
const OTHERS: u64 = 256;

/// Lets so many clients be connected at once, or warns that fewer can be.
pub(crate) fn allow(sessions: usize) {
    let wanted = sessions as u64 + OTHERS;
    let limit = getrlimit(Resource::Nofile);
    if allows(limit.current, wanted) {
        return;
    }
    let raised = limit.maximum.map_or(wanted, |maximum| wanted.min(maximum));
    let newer = Rlimit {
        current: Some(raised),
        ..limit
    };
    let files = match setrlimit(Resource::Nofile, newer) {
        Ok(()) => Some(raised),
        Err(_) => limit.current,
    };
    if !allows(files, wanted) {
        warn!(
            sessions,
            files, wanted, "too few files may be open for so many sessions"
        );
    }
}

/// Whether a limit, if it is one, is no less than what is wanted.
fn allows(limit: Option<u64>, wanted: u64) -> bool {
    limit.is_none_or(|limit| limit >= wanted)
}
