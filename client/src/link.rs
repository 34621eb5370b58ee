//! The task behind a client: one connection at a time, and the way to the next.
//!
//! It owns the stream and the desk with its [`Ledger`], moves bytes between them,
//! and reconnects. It decides nothing about requests. Callers reach it through the
//! desk's channels; it ends when every handle is gone or one asks for it.
//!
//! Reading and writing happen in one task, so that no state is shared: both are
//! cancel-safe, whatever is ready first is done first, and everything that became
//! ready in one turn goes out in one write.

use bytes::{Buf, BytesMut};
use hasher_wire::{Codec, Frame, Goodbye, Hello};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep_until, timeout};

use crate::connect::{Dial, Opened, READ_BYTES, open};
use crate::desk::{Desk, End};
use crate::ledger::OUT_BYTES_MAX;
use crate::{ClientError, Retry, Session};

/// Time for the last frame to leave, and for a broken peer's last words to come.
const FAREWELL: Duration = Duration::from_secs(1);

/// How a connection ended.
enum Ended {
    /// The callers are done.
    Finished(End),
    /// The daemon or the stream is.
    Lost(ClientError),
}

pub(crate) struct Link<D: Dial> {
    pub(crate) dial: D,
    pub(crate) hello: Hello,
    pub(crate) connect_timeout: Duration,
    pub(crate) retry: Retry,
    pub(crate) desk: Desk,
    pub(crate) session: watch::Sender<Session>,
}

impl<D: Dial> Link<D> {
    /// Runs until the callers are done.
    pub(crate) async fn run(mut self, mut opened: Opened<D::Stream>) {
        let mut failures = 0;
        let end = loop {
            let since = Instant::now();
            let connection = opened.session.connection;
            let error = match self.serve(opened).await {
                Ended::Finished(end) => break end,
                Ended::Lost(error) => error,
            };
            let now = Instant::now();
            self.desk.ledger.lost(error, now);
            // A connection that stood for a while was a good one; quick losses in a
            // row count as failed connects, or a crash loop would never end.
            let was_good = now - since > self.retry.max_delay;
            failures = if was_good { 0 } else { failures + 1 };
            opened = match self.reconnect(&mut failures).await {
                Ok(opened) => opened,
                Err(end) => break end,
            };
            opened.session.connection = connection + 1;
        };
        self.desk.close(ClientError::Ended);
        end.tell();
    }

    /// Works over one stream until it or the callers end.
    async fn serve(&mut self, opened: Opened<D::Stream>) -> Ended {
        let Opened {
            stream,
            mut input,
            session,
        } = opened;
        let (mut reader, mut writer) = tokio::io::split(stream);
        let mut out = Out::default();
        let desk = &mut self.desk;
        self.session.send_replace(session.clone());
        desk.ledger.connected(session, &mut out.bytes);
        loop {
            // Everything that needs no waiting: frames that came, clocks, frames
            // to send.
            let now = Instant::now();
            let turn =
                receive(desk, &mut input, &mut out, now).and_then(|()| desk.ledger.tick(now));
            if let Err(error) = turn {
                return Ended::Lost(error);
            }
            desk.ledger.fill(&mut out.bytes, now);
            out.is_dirty |= !out.bytes.is_empty();

            let may_add = out.bytes.len() < OUT_BYTES_MAX;
            input.reserve(READ_BYTES);
            tokio::select! {
                read = reader.read_buf(&mut input), if may_add => match read {
                    Ok(0) => return Ended::Lost(ended()),
                    Ok(_) => {}
                    Err(error) => return Ended::Lost(ClientError::lost(&error)),
                },
                sent = out.send(&mut writer), if out.is_dirty => if let Err(error) = sent {
                    let words = last_words(desk, &mut reader, &mut input).await;
                    return Ended::Lost(words.unwrap_or_else(|| ClientError::lost(&error)));
                },
                news = desk.wait(!may_add) => {
                    if let Some(end) = desk.take(news, &mut out.bytes) {
                        say_goodbye(&mut writer, &mut out).await;
                        return Ended::Finished(end);
                    }
                }
            }
        }
    }

    /// Waits until a connection is wanted, then opens one; gives all requests up
    /// when the retry rule is used up, and waits again. `Err`: the callers are done.
    async fn reconnect(&mut self, failures: &mut u32) -> Result<Opened<D::Stream>, End> {
        let mut failed_at = Instant::now();
        // Nothing is sent from here; the ledger says it again after Welcome.
        let mut unsent = BytesMut::new();
        loop {
            if *failures >= self.retry.attempts.max(1) {
                self.desk.ledger.give_up();
                *failures = 0;
            }
            while self.desk.ledger.is_idle() {
                let news = self.desk.wait(false).await;
                if let Some(end) = self.desk.take(news, &mut unsent) {
                    return Err(end);
                }
            }
            let at = failed_at + self.retry.delay(*failures);
            let dialing = async {
                sleep_until(at).await;
                open(&mut self.dial, &self.hello, self.connect_timeout).await
            };
            tokio::pin!(dialing);
            let error = loop {
                tokio::select! {
                    opened = &mut dialing => match opened {
                        Ok(opened) => return Ok(opened),
                        Err(error) => break error,
                    },
                    news = self.desk.wait(false) => {
                        if let Some(end) = self.desk.take(news, &mut unsent) {
                            return Err(end);
                        }
                    }
                }
                // Without a session no answer is overdue.
                _ = self.desk.ledger.tick(Instant::now());
            };
            failed_at = Instant::now();
            *failures += 1;
            self.desk.ledger.still_lost(error);
        }
    }
}

/// Frames on their way out.
#[derive(Default)]
struct Out {
    bytes: BytesMut,
    /// Whether anything was not written or not flushed.
    is_dirty: bool,
}

impl Out {
    /// Writes everything and flushes once. Cancel-safe: what was written has left
    /// `bytes`.
    async fn send(&mut self, writer: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<()> {
        while self.bytes.has_remaining() {
            if writer.write_buf(&mut self.bytes).await? == 0 {
                return Err(std::io::ErrorKind::WriteZero.into());
            }
        }
        writer.flush().await?;
        self.is_dirty = false;
        Ok(())
    }
}

/// Gives the ledger all whole frames of `input`.
fn receive(
    desk: &mut Desk,
    input: &mut BytesMut,
    out: &mut Out,
    now: Instant,
) -> Result<(), ClientError> {
    // What we owe a peer is bounded too: one that sends without reading is not
    // read from.
    while out.bytes.len() < OUT_BYTES_MAX
        && let Some(frame) = Codec.decode(input)?
    {
        desk.ledger.receive(frame, now, &mut out.bytes)?;
    }
    Ok(())
}

/// After a failed write: why the peer left, if it said so.
async fn last_words(
    desk: &mut Desk,
    reader: &mut (impl AsyncRead + Unpin),
    input: &mut BytesMut,
) -> Option<ClientError> {
    let listen = async {
        loop {
            let mut unsent = Out::default();
            if let Err(error) = receive(desk, input, &mut unsent, Instant::now()) {
                return Some(error);
            }
            input.reserve(READ_BYTES);
            if reader.read_buf(input).await.ok()? == 0 {
                return None;
            }
        }
    };
    timeout(FAREWELL, listen).await.unwrap_or_default()
}

/// The last frame; if it does not get through in time, the end of the stream
/// says the same.
async fn say_goodbye(writer: &mut (impl AsyncWrite + Unpin), out: &mut Out) {
    let goodbye = Frame::Goodbye(Goodbye {
        status: None,
        message: "".into(),
    });
    if Codec.encode(&goodbye, &mut out.bytes).is_ok() {
        let last = async {
            out.send(writer).await?;
            writer.shutdown().await
        };
        _ = timeout(FAREWELL, last).await;
    }
}

fn ended() -> ClientError {
    ClientError::Closed {
        status: None,
        reason: String::new(),
    }
}
