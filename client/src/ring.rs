//! Bulk digests through memory that is shared with the daemon.
//!
//! Owns a connection of its own: the messages and digests lie in the ring, and the socket
//! carries only what wakes a sleeper and what ends the session. It does not reconnect.

use std::hint::spin_loop;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use hasher_ring::{ClientRing, MESSAGE_BYTES_MAX, RING_BYTES, RingError};
use hasher_wire::{
    Codec, DigestAlgorithm, Features, Frame, RequestId, RingOpened, Status, Version,
};
use hasher_work::Digest;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::connect::{Opened, SocketDial, open};
use crate::{ClientBuilder, ClientError, ComputedBy, DigestAnswer, Session};

/// Longest wait for one slot: the daemon needs microseconds, and a machine that is out of
/// breath some milliseconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long digests are looked for before this side sleeps: twice as long as a full slot
/// takes, and short enough for a machine whose processors are all busy.
const MOMENT: Duration = Duration::from_micros(20);

/// Looks between two turns of other tasks: a few microseconds.
const LOOKS: usize = 64;

/// Bytes asked of the socket at once; the frames of a ring's session are short.
const READ_BYTES: usize = 1024;

/// Digests through memory that this program shares with the daemon: for programs that have
/// many messages digested and want nearly the speed of their own CPU.
///
/// It is a connection of its own, made with
/// [`ClientBuilder::open_ring`](crate::ClientBuilder::open_ring). Messages travel in
/// *slots* of at most [`MESSAGES_MAX`](Self::MESSAGES_MAX) messages and
/// [`MESSAGE_BYTES_MAX`](Self::MESSAGE_BYTES_MAX) bytes;
/// [`SLOTS`](Self::SLOTS) of them may be in flight. When the daemon ends, every call fails;
/// open another ring then.
///
/// ```no_run
/// use hasher_client::{Client, DigestAlgorithm};
///
/// # async fn f(messages: &[[u8; 80]]) -> Result<(), hasher_client::ClientError> {
/// let mut ring = Client::builder().open_ring().await?;
/// let answer = ring.digest_batch(DigestAlgorithm::Sha256, messages).await?;
/// assert_eq!(answer.digests.len(), messages.len());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct DigestRing {
    ring: ClientRing,
    wire: Wire,
    session: Session,
    by: ComputedBy,
    /// What wakes the daemon.
    bell: BytesMut,
}

impl DigestRing {
    /// Most messages in one slot.
    pub const MESSAGES_MAX: usize = hasher_ring::MESSAGES_MAX;
    /// Most bytes of all messages in one slot together.
    pub const MESSAGE_BYTES_MAX: usize = MESSAGE_BYTES_MAX;
    /// Slots that may be in flight.
    pub const SLOTS: usize = hasher_ring::SLOTS;

    pub(crate) async fn open(builder: ClientBuilder) -> Result<Self, ClientError> {
        let mut dial = SocketDial::new(builder.sockets());
        let within = builder.connect_timeout;
        let Opened {
            stream,
            input,
            session,
        } = open(&mut dial, &builder.hello(), within).await?;
        if !session.features.has(Features::RING) {
            return Err(not_offered(session.version));
        }
        let mut wire = Wire {
            stream,
            input,
            descriptor: None,
        };
        let opened = match timeout(within, wire.open_ring()).await {
            Ok(opened) => opened?,
            Err(_) => {
                return Err(ClientError::Timeout {
                    what: "a request for shared memory",
                    after: within,
                });
            }
        };
        if opened.bytes as usize != RING_BYTES {
            let text = format!("a ring of {} bytes, not {RING_BYTES}", opened.bytes);
            return Err(ClientError::protocol(text));
        }
        let descriptor = wire.descriptor.take();
        let descriptor =
            descriptor.ok_or_else(|| ClientError::protocol("a ring without its descriptor"))?;
        let ring =
            ClientRing::map(descriptor).map_err(|error| ClientError::Map(Arc::new(error)))?;
        Ok(Self {
            ring,
            wire,
            session,
            by: opened.computed_by.into(),
            bell: encoded(&Frame::RingBell)?,
        })
    }

    /// What was agreed with the daemon.
    pub const fn session(&self) -> &Session {
        &self.session
    }

    /// Who computes the digests; always a CPU.
    pub const fn computed_by(&self) -> &ComputedBy {
        &self.by
    }

    /// Slots that were submitted and not collected.
    pub const fn in_flight(&self) -> usize {
        self.ring.in_flight()
    }

    /// Hands in the first of `messages`, as many as fit into one slot, and says how many
    /// that are: none when [`SLOTS`](Self::SLOTS) slots are in flight, so that one has to
    /// be [collected](Self::collect) first. Never waits.
    ///
    /// # Errors
    /// [`ClientError::Failed`] with `Invalid` when the first message fits into no slot.
    pub fn submit<M: AsRef<[u8]>>(
        &mut self,
        algorithm: DigestAlgorithm,
        messages: &[M],
    ) -> Result<usize, ClientError> {
        let length = messages.first().map_or(0, |first| first.as_ref().len());
        if length > MESSAGE_BYTES_MAX {
            let text = format!("a message of {length} bytes, a slot takes {MESSAGE_BYTES_MAX}");
            return Err(ClientError::failed(Status::Invalid, text));
        }
        let count = self.ring.submit(algorithm, messages);
        if count > 0 && self.ring.takes_bell() {
            // If it does not fit, earlier bells wait there, and one is enough. A daemon
            // that has gone is found out by whoever collects.
            _ = hasher_ring::send(&self.wire.stream, &self.bell, None);
        }
        Ok(count)
    }

    /// As [`collect`](Self::collect) for digests that are there already; nothing if they are
    /// not, whatever the reason.
    pub fn try_collect(&mut self) -> Option<Vec<Digest>> {
        self.ring.collect().unwrap_or_default()
    }

    /// The digests of the oldest slot in flight, in the order of its messages; none when no
    /// slot is in flight. Cancel-safe.
    ///
    /// # Errors
    /// [`ClientError::Closed`] when the daemon ended, [`ClientError::Timeout`] after 10
    /// seconds, [`ClientError::Protocol`].
    pub async fn collect(&mut self) -> Result<Vec<Digest>, ClientError> {
        if self.in_flight() == 0 {
            return Ok(Vec::new());
        }
        if let Some(digests) = self.try_collect() {
            return Ok(digests);
        }
        match timeout(ANSWER_TIMEOUT, self.wait()).await {
            Ok(Err(RingError::Ended)) => Err(self.wire.last_words().await),
            Ok(Ok(digests)) => digests,
            Ok(Err(error)) => Err(ClientError::protocol(error.to_string())),
            Err(_) => Err(ClientError::Timeout {
                what: "a slot of digests",
                after: ANSWER_TIMEOUT,
            }),
        }
    }

    /// Has messages digested, of any number: in slots, as many as possible in flight.
    /// Digests that were submitted before and not collected are dropped. Cancel-safe.
    ///
    /// # Errors
    /// As [`submit`](Self::submit) and [`collect`](Self::collect).
    pub async fn digest_batch<M: AsRef<[u8]>>(
        &mut self,
        algorithm: DigestAlgorithm,
        messages: &[M],
    ) -> Result<DigestAnswer, ClientError> {
        while self.in_flight() > 0 {
            self.collect().await?;
        }
        let mut digests = Vec::with_capacity(messages.len());
        let mut rest = messages;
        while digests.len() < messages.len() {
            while !rest.is_empty() {
                match self.submit(algorithm, rest)? {
                    0 => break,
                    count => rest = &rest[count..],
                }
            }
            digests.extend(self.collect().await?);
        }
        let by = self.by.clone();
        Ok(DigestAnswer { digests, by })
    }

    /// Waits awake for a moment, then asleep. The outer error is the ring's.
    async fn wait(&mut self) -> Result<Result<Vec<Digest>, ClientError>, RingError> {
        let mut since = None;
        loop {
            for _ in 0..LOOKS {
                if let Some(digests) = self.ring.collect()? {
                    return Ok(Ok(digests));
                }
                spin_loop();
            }
            if since.get_or_insert_with(Instant::now).elapsed() < MOMENT {
                tokio::task::yield_now().await;
            } else if self.ring.sleep() {
                let heard = self.wire.next_frame().await;
                self.ring.wake();
                if let Err(error) = heard {
                    return Ok(Err(error));
                }
                since = None;
            }
        }
    }
}

/// The socket of a ring's session.
#[derive(Debug)]
struct Wire {
    stream: UnixStream,
    input: BytesMut,
    /// What came with the bytes last.
    descriptor: Option<OwnedFd>,
}

impl Wire {
    /// Asks for the ring; its descriptor is there when the answer is.
    async fn open_ring(&mut self) -> Result<RingOpened, ClientError> {
        self.send(&Frame::RingOpen(RequestId(0)))?;
        loop {
            match self.next_frame().await? {
                Frame::RingOpened(opened) => return Ok(opened),
                Frame::Failed(failed) => {
                    let message = failed.message.to_string();
                    return Err(ClientError::failed(failed.status, message));
                }
                // Nothing else was asked for.
                _ => {}
            }
        }
    }

    /// The next frame but Ping. Cancel-safe.
    ///
    /// # Errors
    /// The session is over.
    async fn next_frame(&mut self) -> Result<Frame, ClientError> {
        loop {
            match Codec.decode(&mut self.input)? {
                Some(Frame::Ping(number)) => self.send(&Frame::Pong(number))?,
                Some(Frame::Goodbye(goodbye)) => {
                    return Err(ClientError::Closed {
                        status: goodbye.status,
                        reason: goodbye.message.to_string(),
                    });
                }
                Some(frame) => return Ok(frame),
                None => self.read().await?,
            }
        }
    }

    /// Why the daemon ended the session.
    async fn last_words(&mut self) -> ClientError {
        let listen = async {
            loop {
                if let Err(error) = self.next_frame().await {
                    return error;
                }
            }
        };
        let ended = |_| ClientError::protocol("a ring that ended before its session");
        timeout(ANSWER_TIMEOUT, listen).await.unwrap_or_else(ended)
    }

    fn send(&self, frame: &Frame) -> Result<(), ClientError> {
        let bytes = encoded(frame)?;
        // A few bytes; a daemon that leaves no room for them is told nothing.
        match hasher_ring::send(&self.stream, &bytes, None) {
            Err(error) => Err(ClientError::lost(&error)),
            Ok(_) => Ok(()),
        }
    }

    async fn read(&mut self) -> Result<(), ClientError> {
        let mut bytes = [0; READ_BYTES];
        let receive = || hasher_ring::receive(&self.stream, &mut bytes);
        match self.stream.async_io(Interest::READABLE, receive).await {
            Ok((0, _)) => Err(ClientError::Closed {
                status: None,
                reason: String::new(),
            }),
            Ok((count, descriptor)) => {
                self.input.extend_from_slice(&bytes[..count]);
                self.descriptor = descriptor.or(self.descriptor.take());
                Ok(())
            }
            Err(error) => Err(ClientError::lost(&error)),
        }
    }
}

fn encoded(frame: &Frame) -> Result<BytesMut, ClientError> {
    let mut bytes = BytesMut::new();
    Codec.encode(frame, &mut bytes)?;
    Ok(bytes)
}

fn not_offered(version: Version) -> ClientError {
    if version < Version::V1_3 {
        ClientError::failed(Status::Unsupported, "this daemon cannot share memory")
    } else {
        ClientError::failed(Status::NotAllowed, "this daemon shares no memory with you")
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use hasher_ring::DaemonRing;
    use hasher_wire::{ComputedBy, DeviceKind, Goodbye, Limits, Welcome};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    use super::*;
    use crate::Client;

    /// A daemon of one client.
    struct Peer {
        stream: UnixStream,
        input: BytesMut,
    }

    impl Peer {
        async fn frame(&mut self) -> Frame {
            loop {
                if let Some(frame) = Codec.decode(&mut self.input).unwrap() {
                    return frame;
                }
                assert_ne!(self.stream.read_buf(&mut self.input).await.unwrap(), 0);
            }
        }

        async fn send(&mut self, frame: Frame) {
            self.stream
                .write_all(&encoded(&frame).unwrap())
                .await
                .unwrap();
        }

        async fn welcome(listener: &UnixListener, version: Version, features: Features) -> Self {
            let (stream, _) = listener.accept().await.unwrap();
            let input = BytesMut::new();
            let mut peer = Self { stream, input };
            assert!(matches!(peer.frame().await, Frame::Hello(_)));
            peer.send(Frame::Welcome(Welcome {
                version,
                credits: 1,
                limits: Limits {
                    frame_bytes: 65536,
                    jobs: 1,
                    messages: 1,
                    chunk_bytes: 1,
                    deadline_default_ms: 1,
                    deadline_max_ms: 1,
                },
                features,
                daemon: "0.1.0".into(),
            }))
            .await;
            peer
        }

        /// Answers RingOpen.
        async fn open_ring(&mut self) -> DaemonRing {
            let Frame::RingOpen(request) = self.frame().await else {
                panic!("no RingOpen");
            };
            let (ring, descriptor) = DaemonRing::new().unwrap();
            let opened = Frame::RingOpened(RingOpened {
                request,
                bytes: RING_BYTES as u32,
                computed_by: ComputedBy {
                    kind: DeviceKind::Cpu,
                    device: "cpu".into(),
                },
            });
            let bytes = encoded(&opened).unwrap();
            hasher_ring::send(&self.stream, &bytes, Some(descriptor.as_fd())).unwrap();
            ring
        }
    }

    async fn with_ring() -> (DigestRing, Peer, DaemonRing, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hasherd.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let script = async {
            let mut peer = Peer::welcome(&listener, Version::V1_3, Features::RING).await;
            let ring = peer.open_ring().await;
            (peer, ring)
        };
        let opening = Client::builder().socket(&path).open_ring();
        let (ring, (peer, theirs)) = tokio::join!(opening, script);
        (ring.unwrap(), peer, theirs, folder)
    }

    #[tokio::test]
    async fn a_daemon_without_shared_memory_is_told_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hasherd.sock");
        let listener = UnixListener::bind(&path).unwrap();
        for (version, status, hint) in [
            (Version::V1_2, Status::Unsupported, "update hasherd"),
            (Version::V1_3, Status::NotAllowed, "shared_memory = \"all\""),
        ] {
            let script = Peer::welcome(&listener, version, Features::DOCUMENTS);
            let opening = Client::builder().socket(&path).open_ring();
            let (ring, _peer) = tokio::join!(opening, script);
            let error = ring.unwrap_err();
            assert_eq!(error.status(), Some(status));
            assert!(error.hint().unwrap().contains(hint), "{:?}", error.hint());
        }
    }

    #[tokio::test]
    async fn a_sleeping_daemon_is_rung_and_rings_a_sleeping_client() {
        let (mut ring, mut peer, mut theirs, _folder) = with_ring().await;
        assert!(theirs.sleep());
        let script = async {
            assert_eq!(peer.frame().await, Frame::RingBell);
            let order = theirs.pull().unwrap().unwrap();
            let digests: Vec<_> = order.messages().map(hasher_work::digest).collect();
            // The client sleeps when nothing came for a moment.
            tokio::task::spawn_blocking(|| std::thread::sleep(20 * MOMENT))
                .await
                .unwrap();
            theirs.complete(&digests);
            while !theirs.takes_bell() {
                tokio::task::yield_now().await;
            }
            peer.send(Frame::Ping(7)).await;
            peer.send(Frame::RingBell).await;
            assert_eq!(peer.frame().await, Frame::Pong(7));
        };
        let asking = ring.digest_batch(DigestAlgorithm::Sha256, &["a", "bb"]);
        let (answer, ()) = tokio::join!(asking, script);
        let answer = answer.unwrap();
        assert_eq!(
            answer.digests,
            [hasher_work::digest(b"a"), hasher_work::digest(b"bb")]
        );
        assert_eq!(answer.by.to_string(), "cpu (cpu)");
    }

    #[tokio::test]
    async fn the_daemons_last_words_are_the_error() {
        let (mut ring, mut peer, theirs, _folder) = with_ring().await;
        assert_eq!(ring.submit(DigestAlgorithm::Sha256, &["a"]).unwrap(), 1);
        peer.send(Frame::Goodbye(Goodbye {
            status: Some(Status::ShuttingDown),
            message: "".into(),
        }))
        .await;
        drop((peer, theirs));
        let error = ring.collect().await.unwrap_err();
        assert_eq!(error.status(), Some(Status::ShuttingDown));
    }

    #[tokio::test]
    async fn a_daemon_that_vanishes_ends_the_wait() {
        let (mut ring, peer, theirs, _folder) = with_ring().await;
        assert_eq!(ring.submit(DigestAlgorithm::Sha256, &["a"]).unwrap(), 1);
        // As after a crash: the memory stays as it is.
        drop(peer);
        let error = ring.collect().await.unwrap_err();
        assert!(
            matches!(error, ClientError::Closed { status: None, .. }),
            "{error:?}"
        );
        drop(theirs);
    }

    #[tokio::test]
    async fn a_daemon_that_hangs_is_not_waited_for_forever() {
        let (mut ring, _peer, _theirs, _folder) = with_ring().await;
        tokio::time::pause();
        assert_eq!(ring.submit(DigestAlgorithm::Sha256, &["a"]).unwrap(), 1);
        let error = ring.collect().await.unwrap_err();
        assert!(matches!(error, ClientError::Timeout { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn digests_of_a_call_that_was_dropped_are_not_those_of_the_next() {
        let (mut ring, _peer, mut theirs, _folder) = with_ring().await;
        assert_eq!(ring.submit(DigestAlgorithm::Sha256, &["old"]).unwrap(), 1);
        let script = async {
            for _ in 0..2 {
                while theirs.pull().unwrap().is_none() {
                    tokio::task::yield_now().await;
                }
                let order = theirs.pull().unwrap().unwrap();
                let messages = order.messages();
                let digests: Vec<_> = messages.map(hasher_work::digest).collect();
                theirs.complete(&digests);
            }
        };
        let asking = ring.digest_batch(DigestAlgorithm::Sha256, &["new"]);
        // The script is not rung for: its ring is looked into all the time.
        let (answer, ()) = tokio::join!(asking, script);
        assert_eq!(answer.unwrap().digests, [hasher_work::digest(b"new")]);
    }

    #[tokio::test]
    async fn a_message_that_fits_no_slot_is_refused() {
        let (mut ring, _peer, _theirs, _folder) = with_ring().await;
        let long = [0; MESSAGE_BYTES_MAX + 1];
        let error = ring.submit(DigestAlgorithm::Sha256, &[long]).unwrap_err();
        assert_eq!(error.status(), Some(Status::Invalid));
        assert!(
            error
                .to_string()
                .contains("10945 bytes, a slot takes 10944"),
            "{error}"
        );
        assert_eq!(ring.in_flight(), 0);
    }
}
