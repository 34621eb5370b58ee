//! A descriptor over a Unix socket.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// Writes some of `bytes` without waiting, and a descriptor with the first of them.
///
/// # Errors
/// Of the system; `WouldBlock` when nothing can be written now.
pub fn send(
    socket: impl AsFd,
    bytes: &[u8],
    descriptor: Option<BorrowedFd<'_>>,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = descriptor.as_slice();
    if !descriptors.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    Ok(sendmsg(
        socket,
        &[IoSlice::new(bytes)],
        &mut control,
        flags,
    )?)
}

/// Reads some bytes without waiting, and the descriptor that came with them. How many; 0 is
/// the end.
///
/// # Errors
/// Of the system; `WouldBlock` when nothing has come.
pub fn receive(socket: impl AsFd, bytes: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(socket, &mut [IoSliceMut::new(bytes)], &mut control, flags)?;
    let mut descriptor = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            descriptor = descriptors.last();
        }
    }
    Ok((received.bytes, descriptor))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_descriptor_comes_with_the_bytes_that_it_was_sent_with() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut bytes = [0; 8];
        let nothing = receive(&theirs, &mut bytes).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        let zero = File::open("/dev/zero").unwrap();
        assert_eq!(send(&ours, b"ab", None).unwrap(), 2);
        assert_eq!(send(&ours, b"c", Some(zero.as_fd())).unwrap(), 1);
        let mut received = 0;
        let mut descriptor = None;
        while received < 3 {
            let (count, passed) = receive(&theirs, &mut bytes[received..]).unwrap();
            received += count;
            descriptor = descriptor.or(passed);
        }
        assert_eq!(&bytes[..3], b"abc");
        let mut byte = [1];
        File::from(descriptor.unwrap())
            .read_exact(&mut byte)
            .unwrap();
        assert_eq!(byte, [0]);
        drop(ours);
        assert_eq!(receive(&theirs, &mut bytes).unwrap().0, 0);
    }
}
