//! What carries frames: a socket, or memory within the daemon.

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::UnixStream;

/// A stream that a [`Link`](crate::link::Link) can own.
pub(crate) trait Carrier: AsyncRead + AsyncWrite + Unpin {}

impl Carrier for UnixStream {}

impl Carrier for DuplexStream {}
