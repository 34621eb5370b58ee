//! The status document and the events: typed, written as JSON inside their frames,
//! so that a shell script can read them and a newer daemon can add fields.

use serde::{Deserialize, Serialize};

use crate::{DeviceKind, MAX_JSON_BYTES};

/// What a daemon says about itself.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct StatusReport {
    /// The program.
    pub daemon: DaemonReport,
    /// What it speaks.
    pub protocol: ProtocolReport,
    /// Its devices, attached or awaited; at most 16.
    pub devices: Vec<DeviceReport>,
    /// Its clients, oldest first: 64 and as many more as fit into the frame.
    pub sessions: Vec<SessionReport>,
    /// Clients that did not fit: those with the fewest jobs, and of these the newest.
    #[serde(default, skip_serializing_if = "is_none_left_out")]
    pub sessions_left_out: u64,
    /// Sums since it started.
    pub totals: TotalsReport,
}

impl StatusReport {
    /// Clients of the daemon, also those that did not fit.
    pub const fn open_sessions(&self) -> u64 {
        self.sessions.len() as u64 + self.sessions_left_out
    }

    /// Leaves out the last sessions until the document fits into a frame, also as an
    /// event.
    pub fn leave_out_sessions(&mut self) {
        /// What an event has around the document, and the digits of a new count.
        const AROUND_BYTES: usize = 128;
        let sessions = std::mem::take(&mut self.sessions);
        let mut room = MAX_JSON_BYTES.saturating_sub(AROUND_BYTES + json_bytes(self));
        let fitting = sessions.iter().take_while(|session| {
            let bytes = json_bytes(session) + ",".len();
            let fits = bytes <= room;
            room = room.saturating_sub(bytes);
            fits
        });
        let fitting = fitting.count();
        self.sessions_left_out += (sessions.len() - fitting) as u64;
        self.sessions = sessions;
        self.sessions.truncate(fitting);
    }
}

fn json_bytes(value: &impl Serialize) -> usize {
    serde_json::to_vec(value).map_or(MAX_JSON_BYTES, |json| json.len())
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
const fn is_none_left_out(left_out: &u64) -> bool {
    *left_out == 0
}

/// The program.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DaemonReport {
    /// Its version.
    pub version: String,
    /// Its process number.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_s: u64,
}

/// Versions of the protocol that the daemon serves, such as `1.0` and `1.1`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProtocolReport {
    /// Oldest.
    pub min: String,
    /// Newest.
    pub max: String,
}

/// Where a device is in its life. A reader takes a state that it does not know for one
/// in which the device takes no works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceState {
    /// Not plugged in, or not there for another reason.
    Absent,
    /// On the bus; being opened.
    Claiming,
    /// On the bus, but a kernel driver or another program holds it.
    Busy,
    /// On the bus, but the daemon may not open it.
    Denied,
    /// On the bus, but it does not speak the protocol; left alone until it is replugged.
    Refused,
    /// On the bus; it failed, and the daemon tries again after a while.
    Waiting,
    /// Opened, being initialised.
    Starting,
    /// Takes works.
    Ready,
    /// There, but takes no work for now.
    Paused,
    /// Being flushed and closed.
    Stopping,
    /// A state of a newer daemon.
    #[serde(other)]
    Unknown,
}

impl DeviceState {
    /// The word for it, as in the document.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Claiming => "claiming",
            Self::Busy => "busy",
            Self::Denied => "denied",
            Self::Refused => "refused",
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Paused => "paused",
            Self::Stopping => "stopping",
            Self::Unknown => "unknown",
        }
    }
}

/// One device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceReport {
    /// Stable name.
    pub id: String,
    /// What does the hashing.
    pub kind: DeviceKind,
    /// Where it is in its life.
    pub state: DeviceState,
    /// Why it is not ready, for people; absent when it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who holds it when it is busy: a kernel driver by name, or another program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_by: Option<String>,
    /// What a person can do about it, in one line; absent when nothing is known to help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// Model for people; empty while not known.
    pub model: String,
    /// Firmware version; empty while not known.
    pub firmware: String,
    /// Packet layout that its controller speaks, `S1` or `S3`; empty while not known and
    /// for a CPU.
    #[serde(default)]
    pub layout: String,
    /// Chips on each chain; empty for a CPU.
    pub chips_per_chain: Vec<u8>,
    /// Clock of the chips in MHz; 0 for a CPU.
    pub frequency_mhz: f64,
    /// Leading zero bits below which the device reports nothing.
    pub filter_zero_bits: u32,
    /// Double hashes a second that clock and chips give in theory; 0 if unknown.
    pub nominal_hash_rate_hps: f64,
    /// Double hashes a second that it did of late.
    #[serde(default)]
    pub hash_rate_hps: HashRateReport,
    /// Temperatures in °C; 0 means no sensor at that place.
    pub temperatures_celsius: Vec<u8>,
    /// Fan speeds in revolutions a minute.
    pub fans_rpm: Vec<u32>,
    /// Free places in the controller's FIFO, in works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fifo_space: Option<u32>,
    /// How many times slower than silicon a simulated device runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slowdown: Option<f64>,
    /// Works on the device now.
    pub works_in_flight: u32,
    /// How often it was opened since the daemon started.
    pub attachments: u32,
    /// Counters since it was opened last.
    pub counters: DeviceCountersReport,
}

/// Double hashes a second, estimated from verified nonces, each of which stands for as
/// many hashes as it takes on average to find one; exact for a CPU. A window that is
/// longer than the device has been ready covers that time only; 0 before its first nonce.
/// Whole numbers.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct HashRateReport {
    /// Over the last 60 seconds.
    pub minute: f64,
    /// Over the last 900 seconds.
    pub quarter_hour: f64,
}

/// Counters of one device since it was opened last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceCountersReport {
    /// Works given to it.
    pub works: u64,
    /// Works sent only to keep results flowing.
    pub filler_works: u64,
    /// Nonces that passed verification.
    pub hits: u64,
    /// Nonces that failed verification, and errors its controller counted.
    pub hardware_errors: u64,
    /// Correct nonces for works that had ended.
    pub stale: u64,
    /// The same nonce again for the same work.
    pub duplicates: u64,
    /// Nonces whose work nobody knows.
    pub unknown_works: u64,
    /// Works it lost.
    pub lost_works: u64,
    /// Bytes dropped while looking for the start of a reply.
    pub dropped_bytes: u64,
    /// Re-initialisations after silence or lost works.
    pub recoveries: u64,
}

/// One client.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SessionReport {
    /// Number of the session, unique while the daemon runs.
    pub id: u64,
    /// What the client calls itself.
    pub name: String,
    /// User, from the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Process, from the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// Version of the protocol it speaks.
    pub protocol: String,
    /// Credits it has.
    pub credits: u16,
    /// Credits it has not used now.
    pub credits_free: u16,
    /// Search jobs that were accepted.
    pub jobs_accepted: u64,
    /// Search jobs that were answered with a result.
    pub jobs_done: u64,
    /// Search jobs that were accepted and failed.
    pub jobs_failed: u64,
    /// Requests that were refused at once.
    pub refused: u64,
    /// Search jobs that wait for a device or are worked on now.
    #[serde(default)]
    pub jobs_live: u32,
    /// Its part of the works that all sessions' jobs got in the last 60 seconds, 0 to 1,
    /// to four digits.
    #[serde(default)]
    pub share: f64,
    /// Works given to devices for it.
    pub works: u64,
    /// Messages digested for it.
    pub digests: u64,
}

/// Sums since the daemon started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TotalsReport {
    /// Sessions that were welcomed.
    pub sessions: u64,
    /// Search jobs that were accepted.
    pub jobs_accepted: u64,
    /// Search jobs that were answered with a result.
    pub jobs_done: u64,
    /// Search jobs that were accepted and failed.
    pub jobs_failed: u64,
    /// Search jobs that wait or are worked on now.
    pub jobs_live: u64,
    /// Requests that were refused at once.
    pub refused: u64,
    /// Works given to devices.
    pub works: u64,
    /// Verified hits that answered a job.
    pub hits: u64,
    /// Nonces for jobs that had already been answered.
    pub stale_hits: u64,
    /// Nonces whose digest was not what the device said: a fault of its driver.
    pub wrong_hits: u64,
    /// Messages digested on the CPU.
    pub digests: u64,
    /// Bytes digested on the CPU.
    pub digest_bytes: u64,
}

/// The answer to a [`Query`](crate::Query) for topic
/// [`TOPIC`](ConfigurationReport::TOPIC): what is in effect now.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ConfigurationReport {
    /// The file that was read; empty when there is none.
    pub file: String,
    /// Every setting, in the order of the manual.
    pub settings: Vec<SettingReport>,
}

impl ConfigurationReport {
    /// The topic of its query.
    pub const TOPIC: &str = "configuration";
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingReport {
    /// Its dotted name, such as `limits.sessions`.
    pub key: String,
    /// Its value, written as in the file.
    pub value: String,
    /// Where it comes from: `default`, `FILE:LINE`, `command line` or `environment`;
    /// `, until a restart` follows when the file says otherwise by now.
    pub origin: String,
}

/// The answer to a [`Query`](crate::Query) for topic [`TOPIC`](CaptureReport::TOPIC) about
/// a device: what went over its wire of late. Works of clients are blank, nonces are not.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct CaptureReport {
    /// Its name.
    pub device: String,
    /// The first transfers after it was attached.
    pub start: Vec<TransferReport>,
    /// Transfers between those and the newest, which are forgotten.
    pub left_out: u64,
    /// The newest, oldest first.
    pub recent: Vec<TransferReport>,
}

impl CaptureReport {
    /// The topic of its query; the argument is the device's name.
    pub const TOPIC: &str = "capture";
}

/// One transfer, or several equal ones in a row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TransferReport {
    /// Milliseconds since the device was attached, of the last of them.
    pub ms: f64,
    /// Which way, and what.
    #[serde(flatten)]
    pub data: TransferData,
    /// How many.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub times: u32,
}

/// What a transfer was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransferData {
    /// To the device, in hexadecimal digits.
    Out(String),
    /// From the device, in hexadecimal digits.
    In(String),
    /// It failed; why.
    Fault(String),
}

const fn one() -> u32 {
    1
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
const fn is_one(times: &u32) -> bool {
    *times == 1
}

/// What an event says. A reader ignores an `event` that it does not know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum EventBody {
    /// A device came or changed its state.
    Device {
        /// Its newest report.
        device: DeviceReport,
    },
    /// A device is no longer configured.
    Removed {
        /// Its name.
        id: String,
    },
    /// The whole status; also the first answer to a subscription.
    Status {
        /// The newest report.
        status: StatusReport,
    },
    /// An event of a newer daemon.
    #[serde(other)]
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_document_with_more_fields_is_read() {
        let text = r#"{"daemon":{"version":"9","pid":1,"uptime_s":2,"new":3},
            "protocol":{"min":"1.0","max":"1.9"},"devices":[],"sessions":[],
            "totals":{"jobs_done":4,"newer":5},"more":[]}"#;
        let report: StatusReport = serde_json::from_str(text).unwrap();
        assert_eq!(report.totals.jobs_done, 4);
    }

    #[test]
    fn a_status_names_as_many_sessions_as_fit_and_counts_the_others() {
        for name_bytes in [0, 64] {
            let session = |id| SessionReport {
                id,
                name: "n".repeat(name_bytes),
                ..SessionReport::default()
            };
            let mut status = StatusReport {
                sessions: (0..1000).map(session).collect(),
                sessions_left_out: 24,
                ..StatusReport::default()
            };
            status.leave_out_sessions();
            let shown = status.sessions.len();
            assert!((100..400).contains(&shown), "{shown}");
            assert_eq!(status.open_sessions(), 1024);
            assert_eq!(status.sessions.last().map(|s| s.id), Some(shown as u64 - 1));
            let event = EventBody::Status {
                status: status.clone(),
            };
            assert!(crate::Event::new(&event).is_ok(), "it fits");
            status.sessions.push(session(u64::MAX));
            let longer = json_bytes(&EventBody::Status { status });
            assert!(
                longer > MAX_JSON_BYTES - 128,
                "{longer}: one more would not"
            );
        }
    }

    #[test]
    fn states_are_written_as_their_words_and_unknown_ones_are_read() {
        for state in [
            DeviceState::Absent,
            DeviceState::Claiming,
            DeviceState::Busy,
            DeviceState::Denied,
            DeviceState::Refused,
            DeviceState::Waiting,
            DeviceState::Starting,
            DeviceState::Ready,
            DeviceState::Paused,
            DeviceState::Stopping,
        ] {
            let word = serde_json::to_value(state).unwrap();
            assert_eq!(word, state.as_str());
            assert_eq!(serde_json::from_value::<DeviceState>(word).unwrap(), state);
        }
        let newer: DeviceState = serde_json::from_str("\"dreaming\"").unwrap();
        assert_eq!(newer, DeviceState::Unknown);
    }

    #[test]
    fn a_transfer_is_written_in_one_short_line() {
        let transfer = |data, times| TransferReport {
            ms: 1.5,
            data,
            times,
        };
        for (transfer, text) in [
            (
                transfer(TransferData::Out("5300".into()), 1),
                r#"{"ms":1.5,"out":"5300"}"#,
            ),
            (
                transfer(TransferData::In("a100".into()), 3),
                r#"{"ms":1.5,"in":"a100","times":3}"#,
            ),
            (
                transfer(TransferData::Fault("an endpoint stalled".into()), 1),
                r#"{"ms":1.5,"fault":"an endpoint stalled"}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&transfer).unwrap(), text);
            let read: TransferReport = serde_json::from_str(text).unwrap();
            assert_eq!(read, transfer);
        }
    }

    #[test]
    fn an_event_of_a_newer_daemon_is_told_apart() {
        let body: EventBody = serde_json::from_str(r#"{"event":"suspend","in_s":3}"#).unwrap();
        assert_eq!(body, EventBody::Unknown);
    }
}
