//! Asking polkit, and giving up asking.
//!
//! The subject is the caller's name on the bus, which nobody can forge, never a number
//! that could be reused. Whoever allowed it (`busctl` does by itself) may be asked for a
//! password, which takes as long as a person takes, but no longer than they stay.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tracing::debug;
use zbus::Connection;
use zbus::message::{Flags, Header};
use zbus_polkit::policykit1::{
    AuthorityProxy, AuthorizationResult, CheckAuthorizationFlags, Subject,
};

use super::access::{Right, refused};
use super::inner::while_caller_stays;
use crate::core::CallError;

/// A person has so long for the password.
const PERSON_TIMEOUT: Duration = Duration::from_secs(120);

/// polkit has so long when it need not ask a person; its rules may look things up.
const POLKIT_TIMEOUT: Duration = Duration::from_secs(10);

/// Checks that were asked for; each has a name of its own to be cancelled by.
static CHECKS: AtomicU64 = AtomicU64::new(0);

/// Returns if polkit allows the caller what it asks for.
pub(super) async fn check(
    connection: &Connection,
    header: &Header<'_>,
    uid: u32,
    right: Right,
) -> Result<(), CallError> {
    let may_ask = header
        .primary()
        .flags()
        .contains(Flags::ALLOW_INTERACTIVE_AUTH);
    let timeout = if may_ask {
        PERSON_TIMEOUT
    } else {
        POLKIT_TIMEOUT
    };
    let cancellation = format!("hasherd-{}", CHECKS.fetch_add(1, Ordering::Relaxed));
    let asking = tokio::time::timeout(
        timeout,
        ask(connection, header, right, may_ask, &cancellation),
    );
    let asked = while_caller_stays(connection, header, asking).await;
    let why = match asked {
        Some(Ok(Ok(result))) if result.is_authorized => return Ok(()),
        Some(Ok(Ok(result))) => refusal(&result, may_ask),
        Some(Ok(Err(error))) => format!("polkit cannot be asked: {error}"),
        Some(Err(_)) | None => {
            cancel(connection, &cancellation).await;
            format!("polkit was not answered within {} s", timeout.as_secs())
        }
    };
    Err(refused(explain(uid, right, &why)))
}

async fn ask(
    connection: &Connection,
    header: &Header<'_>,
    right: Right,
    may_ask: bool,
    cancellation: &str,
) -> zbus::Result<AuthorizationResult> {
    let subject = Subject::new_for_message_header(header)
        .map_err(|error| zbus::Error::Failure(error.to_string()))?;
    let flags = if may_ask {
        CheckAuthorizationFlags::ALLOW_USER_INTERACTION
    } else {
        CheckAuthorizationFlags::empty()
    };
    let authority = AuthorityProxy::new(connection).await?;
    authority
        .check_authorization(
            &subject,
            right.action(),
            &HashMap::new(),
            flags,
            cancellation,
        )
        .await
}

/// Takes the password dialog away, if there is one.
async fn cancel(connection: &Connection, cancellation: &str) {
    let cancelling = async {
        let authority = AuthorityProxy::new(connection).await?;
        authority.cancel_check_authorization(cancellation).await
    };
    match tokio::time::timeout(POLKIT_TIMEOUT, cancelling).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "polkit check not cancelled"),
        Err(_) => debug!("polkit does not answer"),
    }
}

/// Why polkit said no.
fn refusal(result: &AuthorizationResult, may_ask: bool) -> String {
    let is_dismissed = result.details.contains_key("polkit.dismissed");
    match (result.is_challenge, may_ask) {
        _ if is_dismissed => "the password dialog was dismissed".to_owned(),
        (true, false) => {
            "a password is needed; call with interactive authorisation allowed".to_owned()
        }
        (true, true) => "a password is needed, but no polkit agent runs to ask for it".to_owned(),
        (false, _) => "polkit does not allow it".to_owned(),
    }
}

/// The refusal as a person reads it: who, what, why, and what helps.
fn explain(uid: u32, right: Right, why: &str) -> String {
    let (verb, action) = (right.verb(), right.action());
    let remedy = match right {
        Right::Submit => {
            "run `sudo usermod -aG hasher USER` and log in again, or allow the action in a polkit rule"
        }
        _ => "call as root, or allow the action in a polkit rule",
    };
    let group = match right {
        Right::Submit => " is not in group hasher and",
        _ => "",
    };
    format!("user {uid}{group} may not {verb}: {why} (action {action}); {remedy}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(is_challenge: bool, is_dismissed: bool) -> AuthorizationResult {
        let details = is_dismissed.then(|| ("polkit.dismissed".to_owned(), "true".to_owned()));
        AuthorizationResult {
            is_authorized: false,
            is_challenge,
            details: details.into_iter().collect(),
        }
    }

    #[test]
    fn a_refusal_says_who_what_why_and_what_helps() {
        let text = explain(1000, Right::Submit, "polkit does not allow it");
        assert_eq!(
            text,
            "user 1000 is not in group hasher and may not submit work: polkit does not allow it \
             (action org.hasher.hasher1.open-session); run `sudo usermod -aG hasher USER` and \
             log in again, or allow the action in a polkit rule"
        );
        let text = explain(1000, Right::Reset, "x");
        assert!(
            text.starts_with("user 1000 may not reset devices: x (action"),
            "{text}"
        );
        assert!(
            text.ends_with("call as root, or allow the action in a polkit rule"),
            "{text}"
        );
    }

    #[test]
    fn each_no_of_polkit_has_its_words() {
        assert!(refusal(&result(true, false), false).contains("interactive authorisation"));
        assert!(refusal(&result(true, false), true).contains("no polkit agent"));
        assert!(refusal(&result(false, true), true).contains("dismissed"));
        assert!(refusal(&result(false, false), true).contains("does not allow"));
    }
}
