//! What logind says about the machine's sleep.
//!
//! Holds a delay lock while the daemon is awake, so that the devices can be drained and
//! released before the machine sleeps, and takes it anew when it is awake again.
//! Without logind nothing of this happens.

use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, info, warn};
use zbus::fdo::DBusProxy;
use zbus::{Connection, OwnedFd, proxy};

use super::{Context, MessageBus, next};
use crate::error_text::one_line;
use crate::hub::Hub;

/// Devices are released within this time, or the machine sleeps without: draining takes
/// 2 s and closing 1.5 s at most, and logind waits 5 s by default.
const RELEASE_TIMEOUT: Duration = Duration::from_millis(4500);

#[proxy(
    interface = "org.freedesktop.login1.Manager",
    default_service = "org.freedesktop.login1",
    default_path = "/org/freedesktop/login1"
)]
trait Logind {
    fn inhibit(&self, what: &str, who: &str, why: &str, mode: &str) -> zbus::Result<OwnedFd>;

    #[zbus(signal)]
    fn prepare_for_sleep(&self, begins: bool) -> zbus::Result<()>;
}

/// Whatever ends this, nobody must wait for a waking that will not be heard.
struct Awake<'a>(&'a Hub);

impl Drop for Awake<'_> {
    fn drop(&mut self) {
        self.0.power().set_sleeping(false);
    }
}

/// Follows logind for as long as the connection lives; never returns without an error.
pub(super) async fn follow(context: &Arc<Context>, connection: &Connection) -> zbus::Error {
    if context.bus != MessageBus::System {
        return std::future::pending().await;
    }
    match attend(&context.hub, connection).await {
        Ok(()) => std::future::pending().await, // the connection has ended
        Err(error) => error,
    }
}

async fn attend(hub: &Hub, connection: &Connection) -> zbus::Result<()> {
    let logind = LogindProxy::new(connection).await?;
    // Both watches come before the first look, so that nothing is missed between.
    let mut signals = logind.receive_prepare_for_sleep().await?;
    let mut owners = logind.inner().receive_owner_changed().await?;
    let bus = DBusProxy::new(connection).await?;
    let is_there = bus
        .name_has_owner("org.freedesktop.login1".try_into()?)
        .await?;
    let mut lock = SleepLock::default();
    if is_there {
        lock.take(&logind).await;
    } else {
        debug!("no logind on this machine");
    }
    let awake = Awake(hub);
    loop {
        tokio::select! {
            owner = next(&mut owners) => match owner {
                // A lock of the one that is gone is worth nothing.
                Some(Some(_)) => lock.take(&logind).await,
                Some(None) => lock.release(),
                None => return Ok(()),
            },
            signal = next(&mut signals) => {
                let Some(signal) = signal else { return Ok(()) };
                if signal.args()?.begins {
                    fall_asleep(awake.0).await;
                    lock.release();
                } else {
                    info!("the machine is awake");
                    lock.take(&logind).await;
                    hub.wake();
                }
            }
        }
    }
}

/// While it is held, logind waits before the machine sleeps.
#[derive(Default)]
struct SleepLock {
    held: Option<OwnedFd>,
}

impl SleepLock {
    async fn take(&mut self, logind: &LogindProxy<'_>) {
        let why = "drain and release the hash devices";
        match logind.inhibit("sleep", "hasherd", why, "delay").await {
            Ok(lock) => self.held = Some(lock),
            Err(error) => {
                self.held = None;
                let error = one_line(&error);
                warn!(
                    error,
                    "cannot delay the machine's sleep; works may be lost then"
                );
            }
        }
    }

    fn release(&mut self) {
        self.held = None;
    }
}

async fn fall_asleep(hub: &Hub) {
    info!("the machine is about to sleep");
    hub.power().set_sleeping(true);
    let released = hub.power().all_released();
    match tokio::time::timeout(RELEASE_TIMEOUT, released).await {
        Ok(()) => info!("devices released"),
        Err(_) => warn!("devices were not released in time"),
    }
}
