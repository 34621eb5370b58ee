//! The packets that `vhci_hcd` exchanges with the far end of a virtual cable.
//!
//! Owns the byte layout of USB/IP after the import handshake, which a local
//! attachment does not have: a request or response is a 48-byte header of
//! big-endian words, followed by the data of the transfer where there are any. Does
//! no I/O and knows nothing of devices; [`crate::transfers`] gives the packets their
//! meaning. Source: Linux, `Documentation/usb/usbip_protocol.rst`.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Length of every header in bytes.
pub const HEADER_BYTES: usize = 48;

/// Longest transfer that is accepted, in bytes. The kernel's usbfs splits nothing, so
/// a program may ask for more; nothing that speaks to these boards needs 1 KiB.
pub const MAX_TRANSFER_BYTES: usize = 64 * 1024;

const CMD_SUBMIT: u32 = 1;
const CMD_UNLINK: u32 = 2;
const RET_SUBMIT: u32 = 3;
const RET_UNLINK: u32 = 4;

const DIRECTION_OUT: u32 = 0;
const DIRECTION_IN: u32 = 1;

/// `number_of_packets` of a transfer that is not isochronous; older kernels send 0.
const NOT_ISOCHRONOUS: u32 = u32::MAX;

/// Which way the data of a transfer travel, seen from the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Host to device.
    Out,
    /// Device to host.
    In,
}

/// The kernel's number for one transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sequence(pub u32);

/// What the kernel asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// A transfer.
    Submit(Submit),
    /// Forget a transfer.
    Unlink {
        /// Number of this request.
        sequence: Sequence,
        /// Number of the transfer to forget.
        victim: Sequence,
    },
}

/// One transfer as the kernel submits it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submit {
    /// Number of the transfer; the answer repeats it.
    pub sequence: Sequence,
    /// Endpoint number, 0 to 15.
    pub endpoint: u8,
    /// Which way the data travel.
    pub direction: Direction,
    /// Bytes the host offers room for (IN), or sends (OUT).
    pub length: usize,
    /// Set-up packet; meaningful on endpoint 0 only.
    pub setup: [u8; 8],
    /// The bytes of an OUT transfer, empty for IN.
    pub data: Bytes,
}

/// How a transfer ended, as the negative error number the kernel gives to the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Well.
    Ok,
    /// The endpoint stalled (`EPIPE`).
    Stall,
    /// The bus had an error that three retries did not cure (`EPROTO`).
    ProtocolError,
    /// The device sent more than the host had room for (`EOVERFLOW`).
    Babble,
    /// It was taken back before it ended (`ECONNRESET`).
    Unlinked,
}

impl Status {
    /// The number on the wire. Source: Linux, `include/uapi/asm-generic/errno.h`.
    const fn to_wire(self) -> i32 {
        match self {
            Self::Ok => 0,
            Self::Stall => -32,
            Self::ProtocolError => -71,
            Self::Babble => -75,
            Self::Unlinked => -104,
        }
    }
}

/// What goes back to the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// A transfer ended.
    Submit {
        /// The transfer.
        sequence: Sequence,
        /// How it ended.
        status: Status,
        /// Bytes that were carried.
        actual_length: usize,
        /// The bytes of an IN transfer; empty for OUT.
        data: Bytes,
    },
    /// An unlink request was served.
    Unlink {
        /// The unlink request.
        sequence: Sequence,
        /// [`Status::Unlinked`] if the transfer was still waiting, else
        /// [`Status::Ok`]: its own answer is already on the way.
        status: Status,
    },
}

/// Why the stream from the kernel cannot be followed any further.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UsbipError {
    /// The first word of a header is no known request.
    #[error("unknown request {0:#x}")]
    UnknownRequest(u32),
    /// The direction is neither in nor out.
    #[error("unknown direction {0:#x}")]
    UnknownDirection(u32),
    /// The endpoint number does not fit.
    #[error("endpoint number {0} is above 15")]
    BadEndpoint(u32),
    /// A transfer is longer than [`MAX_TRANSFER_BYTES`].
    #[error("transfer of {0} bytes is longer than {MAX_TRANSFER_BYTES}")]
    TooLong(u32),
    /// The board has no isochronous endpoint.
    #[error("isochronous transfer of {0} packets on a device without such an endpoint")]
    Isochronous(u32),
}

/// Takes the next request off the front of `stream`, or nothing if it is not complete
/// yet. A caller that reads from a socket needs no more than [`HEADER_BYTES`] +
/// [`MAX_TRANSFER_BYTES`] of buffer.
///
/// # Errors
/// Any error is final: the position of the next header is lost.
pub fn decode(stream: &mut BytesMut) -> Result<Option<Request>, UsbipError> {
    let Some(header) = stream.first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    let mut words = &header[..];
    let command = words.get_u32();
    let sequence = Sequence(words.get_u32());
    let _device_id = words.get_u32();
    let direction = words.get_u32();
    let endpoint = words.get_u32();
    if command == CMD_UNLINK {
        let victim = Sequence(words.get_u32());
        stream.advance(HEADER_BYTES);
        return Ok(Some(Request::Unlink { sequence, victim }));
    }
    if command != CMD_SUBMIT {
        return Err(UsbipError::UnknownRequest(command));
    }
    let direction = match direction {
        DIRECTION_OUT => Direction::Out,
        DIRECTION_IN => Direction::In,
        other => return Err(UsbipError::UnknownDirection(other)),
    };
    let endpoint = u8::try_from(endpoint)
        .ok()
        .filter(|number| *number < 16)
        .ok_or(UsbipError::BadEndpoint(endpoint))?;
    let _flags = words.get_u32();
    let length_word = words.get_u32();
    let _start_frame = words.get_u32();
    let packets = words.get_u32();
    let _interval = words.get_u32();
    if packets != 0 && packets != NOT_ISOCHRONOUS {
        return Err(UsbipError::Isochronous(packets));
    }
    let length = length_word as usize;
    if length > MAX_TRANSFER_BYTES {
        return Err(UsbipError::TooLong(length_word));
    }
    let mut setup = [0; 8];
    words.copy_to_slice(&mut setup);
    let payload = match direction {
        Direction::Out => length,
        Direction::In => 0,
    };
    if stream.len() < HEADER_BYTES + payload {
        return Ok(None);
    }
    stream.advance(HEADER_BYTES);
    Ok(Some(Request::Submit(Submit {
        sequence,
        endpoint,
        direction,
        length,
        setup,
        data: stream.split_to(payload).freeze(),
    })))
}

impl Response {
    /// Appends the bytes of this response to `stream`.
    pub fn encode(&self, stream: &mut BytesMut) {
        match self {
            Self::Submit {
                sequence,
                status,
                actual_length,
                data,
            } => {
                put_header(stream, RET_SUBMIT, *sequence, *status);
                // Transfers are bounded by MAX_TRANSFER_BYTES.
                stream.put_u32(*actual_length as u32);
                stream.put_u32(0); // start frame
                stream.put_u32(NOT_ISOCHRONOUS);
                stream.put_bytes(0, 12); // error count, set-up
                stream.put_slice(data);
            }
            Self::Unlink { sequence, status } => {
                put_header(stream, RET_UNLINK, *sequence, *status);
                stream.put_bytes(0, 24);
            }
        }
    }
}

fn put_header(stream: &mut BytesMut, command: u32, sequence: Sequence, status: Status) {
    stream.put_u32(command);
    stream.put_u32(sequence.0);
    stream.put_bytes(0, 12); // device, direction and endpoint are 0 in answers
    stream.put_i32(status.to_wire());
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the kernel writes for a request.
    pub(crate) fn encode_request(request: &Request) -> Vec<u8> {
        let mut bytes = BytesMut::new();
        match request {
            Request::Submit(submit) => {
                bytes.put_u32(CMD_SUBMIT);
                bytes.put_u32(submit.sequence.0);
                bytes.put_u32(0x0001_0001);
                bytes.put_u32(u32::from(submit.direction == Direction::In));
                bytes.put_u32(submit.endpoint.into());
                bytes.put_u32(0x200);
                bytes.put_u32(submit.length as u32);
                bytes.put_u32(0);
                bytes.put_u32(NOT_ISOCHRONOUS);
                bytes.put_u32(0);
                bytes.put_slice(&submit.setup);
                bytes.put_slice(&submit.data);
            }
            Request::Unlink { sequence, victim } => {
                bytes.put_u32(CMD_UNLINK);
                bytes.put_u32(sequence.0);
                bytes.put_bytes(0, 12);
                bytes.put_u32(victim.0);
                bytes.put_bytes(0, 24);
            }
        }
        bytes.to_vec()
    }

    fn request() -> impl Strategy<Value = Request> {
        let submit = (
            any::<u32>(),
            0..16u8,
            any::<bool>(),
            any::<[u8; 8]>(),
            proptest::collection::vec(any::<u8>(), 0..600),
        )
            .prop_map(|(sequence, endpoint, is_in, setup, data)| {
                Request::Submit(Submit {
                    sequence: Sequence(sequence),
                    endpoint,
                    direction: if is_in { Direction::In } else { Direction::Out },
                    length: data.len(),
                    setup,
                    data: if is_in { Bytes::new() } else { data.into() },
                })
            });
        let unlink = any::<(u32, u32)>().prop_map(|(sequence, victim)| Request::Unlink {
            sequence: Sequence(sequence),
            victim: Sequence(victim),
        });
        prop_oneof![3 => submit, 1 => unlink]
    }

    proptest! {
        #[test]
        fn requests_survive_any_split_of_the_stream(
            requests in proptest::collection::vec(request(), 1..8),
            piece in 1..200usize,
        ) {
            let bytes: Vec<u8> = requests.iter().flat_map(encode_request).collect();
            let mut stream = BytesMut::new();
            let mut seen = Vec::new();
            for part in bytes.chunks(piece) {
                stream.extend_from_slice(part);
                while let Some(request) = decode(&mut stream).unwrap() {
                    seen.push(request);
                }
            }
            prop_assert_eq!(seen, requests);
            prop_assert!(stream.is_empty());
        }

        #[test]
        fn arbitrary_bytes_never_panic_and_always_make_progress(
            bytes in proptest::collection::vec(any::<u8>(), 0..400),
        ) {
            let mut stream = BytesMut::from(&bytes[..]);
            let mut before = stream.len();
            while let Ok(Some(_)) = decode(&mut stream) {
                prop_assert!(stream.len() + HEADER_BYTES <= before);
                before = stream.len();
            }
        }

        #[test]
        fn one_changed_header_byte_is_refused_or_still_one_request(
            request in request(),
            at in 0..HEADER_BYTES,
            with in any::<u8>(),
        ) {
            let mut bytes = encode_request(&request);
            bytes[at] = with;
            let mut stream = BytesMut::from(&bytes[..]);
            if let Ok(Some(Request::Submit(submit))) = decode(&mut stream) {
                prop_assert!(submit.length <= MAX_TRANSFER_BYTES);
                prop_assert!(submit.endpoint < 16);
            }
        }
    }

    #[test]
    fn a_transfer_beyond_the_bound_is_refused_before_its_bytes_arrive() {
        let mut bytes = encode_request(&Request::Submit(Submit {
            sequence: Sequence(1),
            endpoint: 1,
            direction: Direction::Out,
            length: MAX_TRANSFER_BYTES + 1,
            setup: [0; 8],
            data: Bytes::new(),
        }));
        bytes.truncate(HEADER_BYTES);
        let mut stream = BytesMut::from(&bytes[..]);
        assert_eq!(
            decode(&mut stream),
            Err(UsbipError::TooLong(MAX_TRANSFER_BYTES as u32 + 1))
        );
    }

    #[test]
    fn a_finished_in_transfer_has_the_layout_of_the_kernel_document() {
        let mut bytes = BytesMut::new();
        Response::Submit {
            sequence: Sequence(0x0102_0304),
            status: Status::Ok,
            actual_length: 2,
            data: Bytes::from_static(&[0xA1, 0x21]),
        }
        .encode(&mut bytes);
        let mut expected = vec![0, 0, 0, 3, 1, 2, 3, 4];
        expected.extend([0; 12]);
        expected.extend([0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 255, 255, 255, 255]);
        expected.extend([0; 12]);
        expected.extend([0xA1, 0x21]);
        assert_eq!(bytes, expected);
    }

    #[test]
    fn an_unlinked_transfer_is_told_as_connection_reset() {
        let mut bytes = BytesMut::new();
        Response::Unlink {
            sequence: Sequence(9),
            status: Status::Unlinked,
        }
        .encode(&mut bytes);
        assert_eq!(bytes.len(), HEADER_BYTES);
        assert_eq!(bytes[..8], [0, 0, 0, 4, 0, 0, 0, 9]);
        assert_eq!(bytes[20..24], (-104i32).to_be_bytes());
    }
}
