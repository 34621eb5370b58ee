//! What carries frames: a socket, or memory within the daemon.

use std::io;
use std::os::fd::BorrowedFd;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};

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
