//! The daemon itself as an object.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use hasher_wire::{ComputedBy, Frame, Status, TotalsReport, Version};
use hasher_work::{SearchEnd, SearchResult};
use tracing::{error, info};
use zbus::message::Header;
use zbus::{Connection, interface};

use super::Context;
use super::access::{Pass, Right};
use super::inner::{ask, while_caller_stays};
use super::options::{self, DigestOptions, Messages, SearchOptions, SessionOptions};
use crate::client_socket::ClientSocket;
use crate::control::ReloadError;
use crate::core::CallError;

/// Properties whose changes are not told, because they change all the time.
pub(super) const SILENT: &[&str] = &["Totals"];

/// See the [module](self).
pub(super) struct Manager {
    context: Arc<Context>,
}

/// A hit over D-Bus: time field, nonce, digest.
type Hit = (u32, u32, Vec<u8>);

/// Kind and name of what did the hashing.
type By = (String, String);

impl Manager {
    pub(super) fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    /// Carries a request out in a session of the caller's, while the caller stays.
    async fn carry_out(
        &self,
        connection: &Connection,
        header: &Header<'_>,
        pass: &Pass,
        request: &Frame,
    ) -> Result<Frame, CallError> {
        let sender = header.sender().map(|sender| sender.as_str());
        let name = format!("dbus {}", sender.unwrap_or_default());
        let asking = ask(&self.context.door, pass, &name, request);
        let asked = while_caller_stays(connection, header, asking).await;
        // Nobody is there to hear that.
        asked.unwrap_or_else(|| Err(CallError::failed(Status::Cancelled, "the caller left")))
    }
}

#[interface(name = "org.hasher.Hasher1.Manager", introspection_docs = false)]
impl Manager {
    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn protocol_version(&self) -> String {
        Version::NEWEST.to_string()
    }

    #[zbus(property)]
    fn state(&self) -> &'static str {
        self.context.hub.state()
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn socket(&self) -> String {
        self.context.socket.clone()
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn started_at(&self) -> u64 {
        self.context.started_at
    }

    #[zbus(property)]
    fn devices(&self) -> u32 {
        self.context.hub.devices() as u32
    }

    #[zbus(property)]
    fn sessions(&self) -> u32 {
        self.context.hub.sessions() as u32
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn totals(&self) -> HashMap<String, u64> {
        let totals = named(self.context.hub.totals());
        totals.map(|(name, n)| (name.to_owned(), n)).into()
    }

    #[zbus(out_args("socket"))]
    async fn open_session(
        &self,
        options: SessionOptions,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<zbus::OwnedFd, CallError> {
        let SessionOptions {} = options;
        let pass = self
            .context
            .enter(connection, &header, Right::Submit)
            .await?;
        let fault = |error: std::io::Error| {
            error!(%error, "no socket pair for a session over d-bus");
            CallError::failed(Status::Internal, format!("no pair of sockets: {error}"))
        };
        let (ours, theirs) = UnixStream::pair().map_err(fault)?;
        ours.set_nonblocking(true).map_err(fault)?;
        let ours = ClientSocket::new(ours).map_err(fault)?;
        match self.context.door.admit(ours, pass.peer) {
            Ok(()) => Ok(OwnedFd::from(theirs).into()),
            Err((_, full)) => Err(CallError::failed(Status::Busy, full.to_string())),
        }
    }

    async fn reload(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(), CallError> {
        let pass = self
            .context
            .enter(connection, &header, Right::Reload)
            .await?;
        let reloader = self.context.reloader.as_ref().ok_or_else(|| {
            let why = "this hasherd was started without a configuration";
            CallError::NotSupported(why.to_owned())
        })?;
        info!(uid = pass.peer.uid, "reload over d-bus");
        reloader.reload().await.map_err(|error| match error {
            ReloadError::Invalid(why) => CallError::ConfigurationInvalid(why),
            ReloadError::Busy => CallError::failed(Status::Busy, error.to_string()),
            ReloadError::ShuttingDown => CallError::failed(Status::ShuttingDown, error.to_string()),
        })
    }

    #[zbus(out_args("end", "certain_nonces", "works", "hits", "computed_by"))]
    async fn search(
        &self,
        header: Vec<u8>,
        options: SearchOptions,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] call: Header<'_>,
    ) -> Result<(String, u64, u32, Vec<Hit>, Vec<By>), CallError> {
        let request = options::search(&header, options)?;
        let pass = self.context.enter(connection, &call, Right::Submit).await?;
        match self.carry_out(connection, &call, &pass, &request).await? {
            Frame::SearchDone(done) => {
                let SearchResult {
                    hits,
                    end,
                    certain_nonces,
                    works,
                } = done.result;
                let hits = hits
                    .iter()
                    .map(|hit| (hit.time, hit.nonce.0, hit.digest.0.to_vec()));
                let by = done.computed_by.iter().map(by);
                Ok((
                    word(end).to_owned(),
                    certain_nonces,
                    works,
                    hits.collect(),
                    by.collect(),
                ))
            }
            other => Err(unexpected(&other)),
        }
    }

    #[zbus(out_args("digests", "computed_by"))]
    async fn digest(
        &self,
        messages: Messages,
        options: DigestOptions,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(Vec<Vec<u8>>, By), CallError> {
        let request = options::digest(messages, &options)?;
        let pass = self
            .context
            .enter(connection, &header, Right::Submit)
            .await?;
        match self.carry_out(connection, &header, &pass, &request).await? {
            Frame::Digests(digests) => {
                let bytes = digests.digests.iter().map(|digest| digest.0.to_vec());
                Ok((bytes.collect(), by(&digests.computed_by)))
            }
            other => Err(unexpected(&other)),
        }
    }
}

fn by(by: &ComputedBy) -> By {
    (by.kind.as_str().to_owned(), by.device.to_string())
}

/// How a search ended, in the words of `hasher search --json`.
const fn word(end: SearchEnd) -> &'static str {
    match end {
        SearchEnd::Found => "found",
        SearchEnd::Exhausted => "exhausted",
        SearchEnd::TimerEnded => "timer-ended",
        SearchEnd::HitLimit => "hit-limit",
        _ => "other",
    }
}

/// The inner session answered what it was not asked.
fn unexpected(frame: &Frame) -> CallError {
    error!(?frame, "unexpected answer of an inner session");
    CallError::failed(Status::Internal, "a fault of hasherd; see its log")
}

/// Every sum with the name that it has in the status document.
fn named(totals: TotalsReport) -> [(&'static str, u64); 12] {
    let TotalsReport {
        sessions,
        jobs_accepted,
        jobs_done,
        jobs_failed,
        jobs_live,
        refused,
        works,
        hits,
        stale_hits,
        wrong_hits,
        digests,
        digest_bytes,
    } = totals;
    [
        ("sessions", sessions),
        ("jobs_accepted", jobs_accepted),
        ("jobs_done", jobs_done),
        ("jobs_failed", jobs_failed),
        ("jobs_live", jobs_live),
        ("refused", refused),
        ("works", works),
        ("hits", hits),
        ("stale_hits", stale_hits),
        ("wrong_hits", wrong_hits),
        ("digests", digests),
        ("digest_bytes", digest_bytes),
    ]
}
