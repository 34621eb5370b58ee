//! Opening a session: a stream, then Hello and Welcome.
//!
//! Owns the way to a socket and the first two frames; never sees a request. The
//! link calls it for the first connection and after every loss.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use bytes::BytesMut;
use hasher_wire::{Codec, Features, Frame, Hello, Limits, Version, Welcome};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::{ClientError, Why};

/// Bytes asked of the system at once: one frame of the longest kind.
pub(crate) const READ_BYTES: usize = hasher_wire::MAX_FRAME_BYTES;
/// Shortest frame limit a daemon may announce: every frame without a list fits.
const MIN_FRAME_BYTES: u32 = 1024;

/// A source of streams to the daemon.
///
/// The library calls it once at first and again after each loss.
pub trait Dial: Send + 'static {
    /// What it makes. A frame written and flushed must reach the peer without
    /// further calls.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Opens one stream. The future may be dropped at any time.
    fn dial(&mut self) -> impl Future<Output = Result<Self::Stream, ClientError>> + Send;

    /// Where the last stream leads, for people.
    fn peer(&self) -> String;
}

/// What was agreed with the daemon when the session was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Where the daemon is: the path of its socket.
    pub peer: String,
    /// Which of the client's connections it is: 1 at first, one more after each
    /// reconnect.
    pub connection: u64,
    /// Version of the protocol in this session.
    pub version: Version,
    /// Version of the daemon's program; empty from a daemon of protocol 1.0.
    pub daemon: String,
    /// Jobs, digest batches and digest streams that may be unanswered at once.
    pub credits: u16,
    /// Bounds of the daemon.
    pub limits: Limits,
    /// What the daemon can do.
    pub features: Features,
}

/// The first of several paths that answers.
pub(crate) struct SocketDial {
    sockets: Vec<PathBuf>,
    connected: usize,
}

impl SocketDial {
    /// `sockets` must not be empty.
    pub(crate) const fn new(sockets: Vec<PathBuf>) -> Self {
        Self {
            sockets,
            connected: 0,
        }
    }
}

impl Dial for SocketDial {
    type Stream = UnixStream;

    async fn dial(&mut self) -> Result<UnixStream, ClientError> {
        let mut failure: Option<ClientError> = None;
        for (index, socket) in self.sockets.iter().enumerate() {
            match UnixStream::connect(socket).await {
                Ok(stream) => {
                    self.connected = index;
                    return Ok(stream);
                }
                Err(error) => {
                    let error = ClientError::unreachable(socket, error);
                    failure = Some(failure.map_or(error.clone(), |f| more_telling(f, error)));
                }
            }
        }
        Err(failure.unwrap_or(ClientError::Unreachable {
            sockets: Vec::new(),
            why: Why::BadPath("no path given"),
        }))
    }

    fn peer(&self) -> String {
        let path = self.sockets.get(self.connected);
        path.map(|path| path.display().to_string())
            .unwrap_or_default()
    }
}

/// Of the failures of two sockets, the one a person should hear of: a socket that
/// is there tells more than one that is not.
fn more_telling(first: ClientError, second: ClientError) -> ClientError {
    match (first, second) {
        (
            ClientError::Unreachable {
                mut sockets,
                why: Why::NoSocket,
            },
            ClientError::Unreachable {
                sockets: more,
                why: Why::NoSocket,
            },
        ) => {
            sockets.extend(more);
            ClientError::Unreachable {
                sockets,
                why: Why::NoSocket,
            }
        }
        (
            ClientError::Unreachable {
                why: Why::NoSocket, ..
            },
            second,
        ) => second,
        (first, _) => first,
    }
}

/// A stream with a session on it.
pub(crate) struct Opened<S> {
    pub(crate) stream: S,
    /// Bytes that came behind the Welcome.
    pub(crate) input: BytesMut,
    pub(crate) session: Session,
}

/// Dials and greets, both within `within`.
pub(crate) async fn open<D: Dial>(
    dial: &mut D,
    hello: &Hello,
    within: Duration,
) -> Result<Opened<D::Stream>, ClientError> {
    let opening = async {
        let mut stream = dial.dial().await?;
        let mut input = BytesMut::new();
        let welcome = greet(&mut stream, &mut input, hello).await?;
        Ok::<_, ClientError>((stream, input, welcome))
    };
    let (stream, input, welcome) = match timeout(within, opening).await {
        Ok(opened) => opened?,
        Err(_) => {
            return Err(ClientError::Unreachable {
                sockets: vec![dial.peer().into()],
                why: Why::NoWelcome(within),
            });
        }
    };
    Ok(Opened {
        stream,
        input,
        session: session(dial.peer(), welcome)?,
    })
}

async fn greet(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    input: &mut BytesMut,
    hello: &Hello,
) -> Result<Welcome, ClientError> {
    let mut out = BytesMut::new();
    Codec.encode(&Frame::Hello(hello.clone()), &mut out)?;
    let sent = async {
        stream.write_all_buf(&mut out).await?;
        stream.flush().await
    }
    .await;
    // A daemon that has no place says Goodbye without waiting for a Hello, so
    // what it said is worth more than the broken pipe.
    loop {
        match Codec.decode(input)? {
            Some(Frame::Welcome(welcome)) => return Ok(welcome),
            Some(Frame::Refused(refused)) => {
                return Err(ClientError::Refused {
                    min: refused.min,
                    max: refused.max,
                });
            }
            Some(Frame::Goodbye(goodbye)) => {
                return Err(ClientError::Closed {
                    status: goodbye.status,
                    reason: goodbye.message.to_string(),
                });
            }
            Some(other) => {
                let name = frame_name(&other);
                return Err(ClientError::protocol(format!("{name} instead of Welcome")));
            }
            None => {}
        }
        input.reserve(READ_BYTES);
        match stream.read_buf(input).await {
            Ok(0) => {
                return Err(match sent {
                    Err(error) => ClientError::lost(&error),
                    Ok(()) => ClientError::Closed {
                        status: None,
                        reason: "before Welcome".into(),
                    },
                });
            }
            Ok(_) => {}
            Err(error) => return Err(ClientError::lost(&error)),
        }
    }
}

/// Checks that the Welcome leaves something to do.
fn session(peer: String, welcome: Welcome) -> Result<Session, ClientError> {
    let Welcome {
        version,
        credits,
        limits,
        features,
        daemon,
    } = welcome;
    if Version::agree(version, version) != Some(version) {
        let text = format!("Welcome with version {version}, which was not offered");
        return Err(ClientError::protocol(text));
    }
    let bounds = [credits, limits.jobs, limits.messages, limits.chunk_bytes];
    if bounds.contains(&0) || limits.frame_bytes < MIN_FRAME_BYTES {
        let text = "Welcome with a limit that allows no request";
        return Err(ClientError::protocol(text));
    }
    Ok(Session {
        peer,
        connection: 1,
        version,
        daemon: daemon.to_string(),
        credits,
        limits,
        features,
    })
}

/// The frame's name for messages.
pub(crate) const fn frame_name(frame: &Frame) -> &'static str {
    match frame {
        Frame::Hello(_) => "Hello",
        Frame::Welcome(_) => "Welcome",
        Frame::Refused(_) => "Refused",
        Frame::Search(_) => "Search",
        Frame::SearchDone(_) => "SearchDone",
        Frame::DigestBatch(_) => "DigestBatch",
        Frame::Digests(_) => "Digests",
        Frame::DigestBegin(_) => "DigestBegin",
        Frame::DigestChunk(_) => "DigestChunk",
        Frame::DigestEnd(_) => "DigestEnd",
        Frame::DigestStreamed(_) => "DigestStreamed",
        Frame::RingOpen(_) => "RingOpen",
        Frame::RingOpened(_) => "RingOpened",
        Frame::RingBell => "RingBell",
        Frame::Failed(_) => "Failed",
        Frame::Cancel(_) => "Cancel",
        Frame::StatusQuery(_) => "StatusQuery",
        Frame::Status(_) => "Status",
        Frame::Subscribe(_) => "Subscribe",
        Frame::Query(_) => "Query",
        Frame::Document(_) => "Document",
        Frame::Event(_) => "Event",
        Frame::Ping(_) => "Ping",
        Frame::Pong(_) => "Pong",
        Frame::Goodbye(_) => "Goodbye",
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn sockets(folder: &tempfile::TempDir, names: &[&str]) -> Vec<PathBuf> {
        names.iter().map(|name| folder.path().join(name)).collect()
    }

    #[tokio::test]
    async fn the_first_socket_that_answers_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let sockets = sockets(&folder, &["none", "dead", "alive", "unused"]);
        drop(UnixListener::bind(&sockets[1]).unwrap());
        let _alive = UnixListener::bind(&sockets[2]).unwrap();
        let mut dial = SocketDial::new(sockets.clone());
        dial.dial().await.unwrap();
        assert_eq!(dial.peer(), sockets[2].display().to_string());
    }

    #[tokio::test]
    async fn of_several_failures_the_most_telling_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let sockets = sockets(&folder, &["none", "dead", "none either"]);
        drop(UnixListener::bind(&sockets[1]).unwrap());
        let error = SocketDial::new(sockets.clone()).dial().await.unwrap_err();
        let ClientError::Unreachable {
            sockets: named,
            why: Why::NobodyListens,
        } = error
        else {
            panic!("{error:?}");
        };
        assert_eq!(named, sockets[1..2]);

        let missing = vec![sockets[0].clone(), sockets[2].clone()];
        let error = SocketDial::new(missing.clone()).dial().await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("none or "), "{text}");
        assert!(text.ends_with("none either: no such socket"), "{text}");
    }
}
