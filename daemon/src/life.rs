//! The daemon's life: start, serve, drain, end.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::boards::{self, Bus};
use crate::control::Control;
use crate::core::{self, JobError};
use crate::dbus::{self, Calls};
use crate::door::Door;
use crate::hub::Hub;
use crate::listener::Listener;
use crate::manager::{Source, supervise};
use crate::notify::{self, Watchdog};
use crate::reload::Configuration;

/// Jobs that are worked on when the daemon stops may be finished within this time.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);

/// Sessions get this long for their last frames; each has its own, shorter bound.
const SESSIONS_TIMEOUT: Duration = Duration::from_secs(3);

/// Devices get this long to be flushed and closed; each has its own, shorter bound.
const DEVICES_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves clients of `listener` with the devices of `sources`, and those that come on
/// `bus`, within the limits of `configuration`, until `shutdown` resolves; then answers
/// everybody, says Goodbye and closes the devices. The whole end takes at most 12 s.
///
/// Without devices it serves too: digests work, searches are answered "no device".
pub async fn run<S: Source, B: Bus>(
    listener: Listener,
    sources: Vec<S>,
    bus: Option<B>,
    configuration: Configuration,
    control: Control,
    shutdown: impl Future<Output = ()>,
) {
    let hub = Hub::new();
    configuration.apply(&hub);
    let watchdog = Watchdog::new();
    let (stop_sessions, stop_devices) = (CancellationToken::new(), CancellationToken::new());
    let stop_dbus = CancellationToken::new();
    let (sessions, devices) = (TaskTracker::new(), TaskTracker::new());

    info!(
        devices = sources.len(),
        usb = bus.is_some(),
        version = env!("CARGO_PKG_VERSION"),
        "hasherd starts"
    );
    if !sources.is_empty() {
        hub.expect_device();
    }
    let ports_max = core::DEVICES_MAX.saturating_sub(sources.len());
    for source in sources {
        let (hub, watchdog) = (Arc::clone(&hub), Arc::clone(&watchdog));
        devices.spawn(supervise(source, hub, watchdog, stop_devices.clone()));
    }
    if let Some(bus) = bus {
        let context = boards::Context {
            hub: Arc::clone(&hub),
            watchdog: Arc::clone(&watchdog),
            tasks: devices.clone(),
            stop: stop_devices.clone(),
            ports_max,
        };
        devices.spawn(boards::follow(bus, context));
    }
    let door = Door::new(Arc::clone(&hub), sessions.clone(), stop_sessions.clone());
    let dbus = dbus::Context {
        bus: control.bus,
        hub: Arc::clone(&hub),
        door: door.clone(),
        reloader: control.reloader,
        socket: listener.path().unwrap_or_default(),
        started_at: seconds_since_1970(),
        calls: Calls::default(),
    };
    let dbus = tokio::spawn(dbus::serve(dbus, stop_dbus.clone()));
    let accepting = tokio::spawn(listener.run(door, stop_sessions.clone()));
    let eager = tokio::spawn({
        let hub = Arc::clone(&hub);
        async move { hub.eager().run().await }
    });

    tokio::select! {
        () = shutdown => {}
        () = configuration.follow(&hub) => {}
        () = hub.run_clock() => {}
        () = notify::publish_status(&hub) => {}
        () = notify::feed_watchdog(&watchdog, &hub) => {}
    }

    info!(sessions = hub.sessions(), "hasherd stops");
    notify::stopping();
    hub.begin_drain();
    if timeout(DRAIN_TIMEOUT, hub.idle()).await.is_err() {
        info!("jobs are left unfinished");
    }
    hub.fail_all(&JobError::ShuttingDown);
    stop_sessions.cancel();
    let _ = accepting.await;
    sessions.close();
    if timeout(SESSIONS_TIMEOUT, sessions.wait()).await.is_err() {
        warn!(sessions = sessions.len(), "sessions did not end in time");
    }
    eager.abort();
    stop_devices.cancel();
    devices.close();
    if timeout(DEVICES_TIMEOUT, devices.wait()).await.is_err() {
        warn!(devices = devices.len(), "devices did not close in time");
    }
    // Last, so that the bus sees the devices and sessions go.
    stop_dbus.cancel();
    let _ = dbus.await;
    info!("hasherd ended");
}

fn seconds_since_1970() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs())
}
