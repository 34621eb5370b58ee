//! The boot loader in which a controller waits after power-up.
//!
//! Owns its frames (protocol reference, section 2.3) and the one thing a host does
//! there: ask for the version and start the application. The loader can also erase and
//! program the controller; no code of this project can build those frames, because
//! [`LoaderCommand`] has no other values.

use std::fmt;
use std::future::poll_fn;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use crate::DriverError;
use crate::crc;
use crate::transport::{Transport, TransportError, TransportEvent};

const SOH: u8 = 0x01;
const EOT: u8 = 0x04;
/// Stands before every byte inside a frame that is one of these three.
const ESCAPE: u8 = 0x10;

/// The loader always reads this many bytes, so frames are padded with zeros.
pub const FRAME_BYTES: usize = 64;

/// Longest wait for an answer or for the device to leave the bus, in the loader. It
/// answers within a poll of its interrupt endpoint (1 ms); a second is generous.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// What may be asked of a boot loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoaderCommand {
    /// Asks for the loader's version.
    ReadVersion,
    /// Starts the application: no answer, the device leaves the bus and comes back
    /// with another product number, which may take 5 seconds.
    RunApplication,
}

impl LoaderCommand {
    const fn number(self) -> u8 {
        match self {
            Self::ReadVersion => 1,
            Self::RunApplication => 5,
        }
    }

    /// The frame without padding.
    pub fn frame(self) -> Bytes {
        frame(&[self.number()])
    }

    /// The frame padded to [`FRAME_BYTES`], ready for one OUT transfer.
    pub fn transfer(self) -> Bytes {
        let mut bytes = BytesMut::from(&self.frame()[..]);
        bytes.resize(FRAME_BYTES, 0);
        bytes.freeze()
    }

    /// Reads a host's transfer as the loader does.
    ///
    /// # Errors
    /// [`LoaderError`]; a loader answers none of those, and the dangerous commands are
    /// [`LoaderError::UnknownCommand`] here.
    pub fn decode(bytes: &[u8]) -> Result<Self, LoaderError> {
        match payload(bytes)?.as_slice() {
            [1] => Ok(Self::ReadVersion),
            [5] => Ok(Self::RunApplication),
            [other, ..] => Err(LoaderError::UnknownCommand(*other)),
            [] => Err(LoaderError::NoFrame),
        }
    }
}

/// Version of a boot loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoaderVersion {
    /// Before the point.
    pub major: u8,
    /// After the point.
    pub minor: u8,
}

impl LoaderVersion {
    /// The answer to [`LoaderCommand::ReadVersion`], without padding.
    pub fn frame(self) -> Bytes {
        frame(&[LoaderCommand::ReadVersion.number(), self.major, self.minor])
    }

    /// Reads the answer to [`LoaderCommand::ReadVersion`].
    ///
    /// # Errors
    /// [`LoaderError`] when it is something else.
    pub fn decode(bytes: &[u8]) -> Result<Self, LoaderError> {
        match payload(bytes)?.as_slice() {
            [1, major, minor] => Ok(Self {
                major: *major,
                minor: *minor,
            }),
            [other, ..] => Err(LoaderError::UnknownCommand(*other)),
            [] => Err(LoaderError::NoFrame),
        }
    }
}

impl fmt::Display for LoaderVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Why bytes are not the frame that was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoaderError {
    /// No start, no end, or nothing between them.
    #[error("no complete boot-loader frame")]
    NoFrame,
    /// The checksum does not match.
    #[error("checksum of a boot-loader frame does not match")]
    BadChecksum,
    /// A command that this project does not use or know.
    #[error("unknown boot-loader command {0}")]
    UnknownCommand(u8),
}

/// Asks a loader for its version and starts the application behind it.
///
/// Afterwards the transport is of no more use: the device leaves the bus and must
/// be found again as an application.
///
/// # Errors
/// [`DriverError::Timeout`] when the loader does not answer,
/// [`DriverError::NotStarted`] when it does not leave, [`DriverError::Io`] when a transfer
/// fails.
pub async fn start_application<T: Transport + ?Sized>(
    transport: &mut T,
) -> Result<LoaderVersion, DriverError> {
    let (after, operation) = (ANSWER_WITHIN, "boot loader's version");
    let version = tokio::time::timeout(after, read_version(transport))
        .await
        .unwrap_or(Err(DriverError::Timeout { operation, after }))?;
    transport.start_send(LoaderCommand::RunApplication.transfer());
    tokio::time::timeout(after, left_the_bus(transport))
        .await
        .unwrap_or(Err(DriverError::NotStarted))?;
    Ok(version)
}

async fn read_version<T: Transport + ?Sized>(
    transport: &mut T,
) -> Result<LoaderVersion, DriverError> {
    transport.start_send(LoaderCommand::ReadVersion.transfer());
    loop {
        match poll_fn(|cx| transport.poll_event(cx)).await {
            TransportEvent::Sent => {}
            TransportEvent::Received(bytes) => {
                // Anything else is what an earlier host left behind.
                if let Ok(version) = LoaderVersion::decode(&bytes) {
                    return Ok(version);
                }
            }
            TransportEvent::Fault(error) => return Err(fault("read boot loader's version", error)),
        }
    }
}

/// Waits until the device has left. A transfer that fails then is no error: the
/// device may be gone before it acknowledges the frame.
async fn left_the_bus<T: Transport + ?Sized>(transport: &mut T) -> Result<(), DriverError> {
    loop {
        match poll_fn(|cx| transport.poll_event(cx)).await {
            TransportEvent::Fault(TransportError::Disconnected) => return Ok(()),
            TransportEvent::Fault(error) => return Err(fault("start application", error)),
            TransportEvent::Sent | TransportEvent::Received(_) => {}
        }
    }
}

fn fault(operation: &'static str, error: TransportError) -> DriverError {
    match error {
        TransportError::Disconnected => DriverError::Disconnected,
        TransportError::Io(source) => DriverError::Io { operation, source },
        other => DriverError::Io {
            operation,
            source: std::io::Error::other(other),
        },
    }
}

/// Builds a frame: start, escaped payload and checksum, end.
fn frame(payload: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(2 * payload.len() + 6);
    bytes.put_u8(SOH);
    let checksum = crc::boot_loader(payload).to_le_bytes();
    for &byte in payload.iter().chain(&checksum) {
        if matches!(byte, SOH | EOT | ESCAPE) {
            bytes.put_u8(ESCAPE);
        }
        bytes.put_u8(byte);
    }
    bytes.put_u8(EOT);
    bytes.freeze()
}

/// The payload of the first frame in `bytes`.
fn payload(bytes: &[u8]) -> Result<Vec<u8>, LoaderError> {
    let mut bytes = bytes.iter().copied();
    bytes
        .by_ref()
        .find(|&byte| byte == SOH)
        .ok_or(LoaderError::NoFrame)?;
    let mut inside = Vec::with_capacity(FRAME_BYTES);
    loop {
        match bytes.next().ok_or(LoaderError::NoFrame)? {
            EOT => break,
            SOH => inside.clear(), // a new start; what came before was cut off
            ESCAPE => inside.push(bytes.next().ok_or(LoaderError::NoFrame)?),
            byte => inside.push(byte),
        }
    }
    let (payload, checksum) = inside
        .split_last_chunk::<2>()
        .filter(|(payload, _)| !payload.is_empty())
        .ok_or(LoaderError::NoFrame)?;
    if crc::boot_loader(payload) == u16::from_le_bytes(*checksum) {
        Ok(payload.to_vec())
    } else {
        Err(LoaderError::BadChecksum)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::task::{Context, Poll};

    use proptest::prelude::*;

    use super::*;
    use crate::vectors::{bytes, vectors};

    #[test]
    fn frames_are_those_of_the_vectors() {
        let vectors = vectors();
        let all = &vectors["bootloader"];
        let read = LoaderCommand::ReadVersion;
        assert_eq!(read.frame(), bytes(&all["read_info"]));
        let run = LoaderCommand::RunApplication;
        assert_eq!(run.frame(), bytes(&all["run_application"]));
        for command in [read, run] {
            assert_eq!(command.transfer().len(), FRAME_BYTES);
            assert_eq!(LoaderCommand::decode(&command.transfer()), Ok(command));
        }
        let version = LoaderVersion { major: 1, minor: 0 };
        let reply = bytes(&all["read_info_reply_v1_0"]);
        assert_eq!(version.frame(), reply);
        assert_eq!(LoaderVersion::decode(&reply), Ok(version));
        assert_eq!(version.to_string(), "1.0");
    }

    #[test]
    fn dangerous_commands_are_not_understood() {
        for command in [2, 3, 4] {
            assert_eq!(
                LoaderCommand::decode(&frame(&[command])),
                Err(LoaderError::UnknownCommand(command))
            );
        }
        assert_eq!(LoaderCommand::decode(&[]), Err(LoaderError::NoFrame));
        assert_eq!(
            LoaderCommand::decode(&[SOH, 5, 0, 0, EOT]),
            Err(LoaderError::BadChecksum)
        );
    }

    /// Answers each send with the next list of events.
    struct Scripted {
        answers: VecDeque<Vec<TransportEvent>>,
        due: VecDeque<TransportEvent>,
        sent: Vec<Bytes>,
    }

    impl Transport for Scripted {
        fn start_send(&mut self, token: Bytes) {
            self.sent.push(token);
            self.due
                .extend(self.answers.pop_front().unwrap_or_default());
        }
        fn poll_event(&mut self, _: &mut Context<'_>) -> Poll<TransportEvent> {
            self.due.pop_front().map_or(Poll::Pending, Poll::Ready)
        }
    }

    fn loader(answers: Vec<Vec<TransportEvent>>) -> Scripted {
        Scripted {
            answers: answers.into(),
            due: VecDeque::new(),
            sent: Vec::new(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_cold_device_is_asked_for_its_version_and_sent_on() {
        let version = LoaderVersion { major: 1, minor: 0 };
        let mut device = loader(vec![
            vec![
                TransportEvent::Sent,
                TransportEvent::Received(Bytes::from_static(b"left over")),
                TransportEvent::Received(version.frame()),
            ],
            vec![
                TransportEvent::Sent,
                TransportEvent::Fault(TransportError::Disconnected),
            ],
        ]);
        assert_eq!(start_application(&mut device).await.unwrap(), version);
        let expected = [LoaderCommand::ReadVersion, LoaderCommand::RunApplication];
        assert_eq!(device.sent, expected.map(LoaderCommand::transfer));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_loader_is_given_up_and_not_started() {
        let mut device = loader(vec![vec![TransportEvent::Sent]]);
        let error = start_application(&mut device).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "boot loader's version did not finish within 1000 ms"
        );
        assert_eq!(device.sent.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_loader_that_answers_and_stays_has_not_started_the_application() {
        let version = LoaderVersion { major: 1, minor: 0 };
        let answer = TransportEvent::Received(version.frame());
        let mut device = loader(vec![
            vec![TransportEvent::Sent, answer],
            vec![TransportEvent::Sent],
        ]);
        let error = start_application(&mut device).await.unwrap_err();
        assert!(matches!(error, DriverError::NotStarted), "{error}");
        assert!(error.remedy().is_some());
    }

    proptest! {
        #[test]
        fn payloads_survive_framing(data in proptest::collection::vec(any::<u8>(), 1..60), noise in proptest::collection::vec(2u8.., 0..5)) {
            let mut wire = noise;
            wire.extend(frame(&data));
            prop_assert_eq!(payload(&wire), Ok(data));
        }

        #[test]
        fn any_bytes_are_read_without_panic(data in proptest::collection::vec(prop_oneof![Just(SOH), Just(EOT), Just(ESCAPE), any::<u8>()], 0..100)) {
            let _ = LoaderCommand::decode(&data);
            let _ = LoaderVersion::decode(&data);
        }
    }
}
