//! What carries frames: a socket, or memory within the daemon.

use std::io;
use std::os::fd::BorrowedFd;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, Interest};
use tokio::net::UnixStream;

/// A stream that a [`Link`](crate::link::Link) can own.
pub(crate) trait Carrier: AsyncRead + AsyncWrite + Unpin {
    /// Whether descriptors can be passed over it.
    const PASSES_DESCRIPTORS: bool;

    /// Writes some bytes, and a descriptor with the first of them.
    fn poll_pass(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        descriptor: BorrowedFd<'_>,
    ) -> Poll<io::Result<usize>>;
}

impl Carrier for UnixStream {
    const PASSES_DESCRIPTORS: bool = true;

    fn poll_pass(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        descriptor: BorrowedFd<'_>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_write_ready(cx))?;
            let send = || hasher_ring::send(&*self, bytes, Some(descriptor));
            match self.try_io(Interest::WRITABLE, send) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => return Poll::Ready(sent),
            }
        }
    }
}

impl Carrier for DuplexStream {
    const PASSES_DESCRIPTORS: bool = false;

    fn poll_pass(
        &mut self,
        _: &mut Context<'_>,
        _: &[u8],
        _: BorrowedFd<'_>,
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
    }
}
