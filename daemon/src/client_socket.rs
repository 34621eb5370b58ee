//! A client's socket, watched for what can be read from it.
//!
//! Whoever watches a socket for room to write is woken each time its peer has read, and
//! the daemon's answers nearly always find room. So it is watched for that only from the
//! first write on that finds none. The listener and D-Bus make it of what they accepted;
//! the [`link`](crate::link) reads and writes it.

use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::ops::RangeInclusive;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hasher_wire::MAX_FRAME_BYTES;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready};

use crate::carrier::Carrier;

/// Bytes read at once: as many as came of late, because the room for them is cleared
/// first. Between a few small requests and a whole frame.
const READ_BYTES: RangeInclusive<usize> = 1024..=MAX_FRAME_BYTES;

/// Small reads in a row after which less room is cleared. One alone may be the end of a
/// frame that just did not fit.
const SMALL_READS: u32 = 16;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct ClientSocket {
    /// Nothing once it could not be watched anew.
    stream: Option<AsyncFd<UnixStream>>,
    is_watched_for_room: bool,
    /// Within [`READ_BYTES`].
    read_bytes: usize,
    /// Reads in a row that left three quarters of their room.
    small_reads: u32,
}

impl ClientSocket {
    /// Of a connected socket that does not block. Call it inside the runtime.
    ///
    /// # Errors
    /// It cannot be watched.
    pub(crate) fn new(stream: UnixStream) -> io::Result<Self> {
        let stream = watch(stream, Interest::READABLE)?;
        Ok(Self {
            stream: Some(stream),
            is_watched_for_room: false,
            read_bytes: *READ_BYTES.start(),
            small_reads: 0,
        })
    }

    /// The last read got so many bytes.
    fn note_read(&mut self, read: usize) {
        self.small_reads = if read < self.read_bytes / 4 {
            self.small_reads + 1
        } else {
            0
        };
        if read >= self.read_bytes {
            self.read_bytes = (self.read_bytes * 2).min(*READ_BYTES.end());
        } else if self.small_reads >= SMALL_READS {
            self.small_reads = 0;
            self.read_bytes = (self.read_bytes / 2).max(*READ_BYTES.start());
        }
    }

    fn stream(&self) -> io::Result<&AsyncFd<UnixStream>> {
        self.stream
            .as_ref()
            .ok_or_else(|| ErrorKind::NotConnected.into())
    }

    /// Calls `write` until it finds room or fails otherwise.
    fn poll_written(
        &mut self,
        cx: &mut Context<'_>,
        write: impl Fn(&UnixStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let stream = self.stream()?;
            let ready = match self.is_watched_for_room {
                true => Some(ready!(stream.poll_write_ready(cx))?),
                false => None,
            };
            match write(stream.get_ref()) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => match ready {
                    Some(mut ready) => ready.clear_ready_matching(Ready::WRITABLE),
                    None => self.watch_for_room(cx)?,
                },
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                written => return Poll::Ready(written),
            }
        }
    }

    /// From now on its task is woken when there is room, too.
    fn watch_for_room(&mut self, cx: &Context<'_>) -> io::Result<()> {
        if let Some(stream) = self.stream.take() {
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.stream = Some(watch(stream.into_inner(), interest)?);
            self.is_watched_for_room = true;
            // A reader that waits was known to the watch that is gone.
            cx.waker().wake_by_ref();
        }
        Ok(())
    }
}

#[expect(
    deprecated,
    reason = "unsound only for types that close or change their descriptor; this one does not"
)]
fn watch(stream: UnixStream, interest: Interest) -> io::Result<AsyncFd<UnixStream>> {
    AsyncFd::with_interest(stream, interest)
}

impl AsyncRead for ClientSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let stream = self.stream()?;
            let mut ready = ready!(stream.poll_read_ready(cx))?;
            let bytes = buffer.remaining().min(self.read_bytes);
            // Little is read where many sessions have read before: room of its own would be
            // in no cache.
            let mut few = [0; *READ_BYTES.start()];
            let is_few = bytes <= few.len();
            let room = match is_few {
                true => &mut few[..bytes],
                false => buffer.initialize_unfilled_to(bytes),
            };
            match recv(stream.get_ref(), room, RecvFlags::empty()) {
                Ok((_, read)) => {
                    if read > 0 && read < bytes {
                        // That was all, and more will be told.
                        ready.clear_ready_matching(Ready::READABLE);
                    }
                    match is_few {
                        true => buffer.put_slice(&few[..read]),
                        false => buffer.advance(read),
                    }
                    self.note_read(read);
                    return Poll::Ready(Ok(()));
                }
                Err(Errno::WOULDBLOCK) => ready.clear_ready_matching(Ready::READABLE),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}

impl AsyncWrite for ClientSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_written(cx, |stream| Ok(send(stream, bytes, SendFlags::NOSIGNAL)?))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream()?.get_ref().shutdown(Shutdown::Write))
    }
}

impl Carrier for ClientSocket {
    const PASSES_DESCRIPTORS: bool = true;

    fn poll_pass(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        descriptor: BorrowedFd<'_>,
    ) -> Poll<io::Result<usize>> {
        self.poll_written(cx, |stream| {
            hasher_ring::send(stream, bytes, Some(descriptor))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::io::{Read, Write};
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::task::yield_now;
    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);
    /// More than a socket holds.
    const FLOOD: usize = 4 << 20;

    fn pair() -> (ClientSocket, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (ClientSocket::new(ours).unwrap(), theirs)
    }

    #[tokio::test]
    async fn a_frame_that_just_does_not_fit_makes_more_room_for_the_next() {
        let (mut socket, _theirs) = pair();
        let least = *READ_BYTES.start();
        for _ in 0..3 {
            socket.note_read(socket.read_bytes.min(least + 15));
            socket.note_read(15);
        }
        assert_eq!(socket.read_bytes, 2 * least);
        for _ in 0..SMALL_READS {
            socket.note_read(100);
        }
        assert_eq!(socket.read_bytes, least);
        for _ in 0..100 {
            socket.note_read(socket.read_bytes);
        }
        assert_eq!(socket.read_bytes, MAX_FRAME_BYTES);
    }

    #[tokio::test]
    async fn an_answer_that_is_read_wakes_nobody() {
        let (mut ours, mut theirs) = pair();
        ours.write_all(&[7; 100]).await.unwrap();
        let (polls, polled) = tokio::sync::watch::channel(0);
        let reading = tokio::spawn(async move {
            let mut byte = [0];
            let mut read = std::pin::pin!(ours.read(&mut byte));
            std::future::poll_fn(|cx| {
                polls.send_modify(|polls| *polls += 1);
                read.as_mut().poll(cx)
            })
            .await
        });
        // Each turn looks for what the kernel has to tell.
        let turns = async || {
            for _ in 0..8 {
                yield_now().await;
            }
        };
        turns().await;
        let before = *polled.borrow();
        theirs.read_exact(&mut [0; 100]).unwrap();
        turns().await;
        assert_eq!(*polled.borrow(), before);
        theirs.write_all(b"x").unwrap();
        assert_eq!(reading.await.unwrap().unwrap(), 1);
    }

    #[tokio::test]
    async fn what_finds_no_room_is_written_when_there_is() {
        let (mut ours, mut theirs) = pair();
        let peer = std::thread::spawn(move || {
            let mut taken = vec![0; FLOOD];
            theirs.read_exact(&mut taken).unwrap();
            theirs.write_all(&taken).unwrap();
        });
        let sent: Vec<u8> = (0..FLOOD).map(|i| (i / 3) as u8).collect();
        timeout(PATIENCE, ours.write_all(&sent))
            .await
            .unwrap()
            .unwrap();
        let mut back = Vec::new();
        timeout(PATIENCE, ours.read_to_end(&mut back))
            .await
            .unwrap()
            .unwrap();
        assert!(back == sent, "{} bytes came back", back.len());
        peer.join().unwrap();
    }

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_still_heard() {
        let (ours, mut theirs) = pair();
        let (mut reader, mut writer) = tokio::io::split(ours);
        tokio::spawn(async move {
            for _ in 0..8 {
                yield_now().await;
            }
            theirs.write_all(b"x").unwrap();
            // It stays connected and reads nothing.
            pending::<()>().await;
        });
        let (mut byte, flood) = ([0], vec![0; FLOOD]);
        let heard = async {
            tokio::select! {
                biased;
                read = reader.read(&mut byte) => read.unwrap(),
                _ = writer.write_all(&flood) => panic!("nobody reads"),
            }
        };
        assert_eq!(timeout(PATIENCE, heard).await.unwrap(), 1);
    }
}
