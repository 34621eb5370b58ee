//! How two servers want digests asked for.
//!
//! Owns the bytes of both protocols. Each frame of either begins with the number of the
//! bytes that follow, four bytes, little-endian; so cutting a stream into frames costs a
//! client the same with both.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use anyhow::{Context, bail, ensure};
use bytes::BytesMut;
use hasher_wire::{
    Codec, DigestAlgorithm, DigestBatch, Frame, Hello, MAX_FRAME_BYTES, Messages, RequestId,
    Version,
};
use hasher_work::Digest;

/// One job: as many bytes as a header has, to be digested once.
pub type Message = [u8; 80];

/// Bytes of a frame's length field.
pub const LENGTH_BYTES: usize = 4;
/// Bytes of the number that ties an answer of the blocking loop to its request.
pub const NUMBER_BYTES: usize = 8;

/// One of the protocols. Requests are numbered by the client; answers carry the number.
#[derive(Debug, Clone, Copy)]
pub enum Dialect {
    /// That of hasherd, see `docs/socket-protocol.md`.
    Hasher,
    /// A number and the messages; a number and the digests.
    Plain,
}

impl Dialect {
    /// What comes before the first request.
    pub fn greet(self, stream: &mut UnixStream) -> anyhow::Result<()> {
        let Self::Hasher = self else { return Ok(()) };
        stream.write_all(&encode(&Frame::Hello(Hello {
            min: Version::OLDEST,
            max: Version::NEWEST,
            name: "bench".into(),
        }))?)?;
        let mut frame = vec![0; LENGTH_BYTES];
        stream.read_exact(&mut frame).context("no Welcome")?;
        frame.resize(frame_bytes(&frame).context("no length")?, 0);
        stream.read_exact(&mut frame[LENGTH_BYTES..])?;
        match decode(&frame)? {
            Frame::Welcome(_) => Ok(()),
            other => bail!("expected Welcome, got {other:?}"),
        }
    }

    /// The frame that asks for the digests of `messages`.
    pub fn request(self, number: u32, messages: &[Message]) -> anyhow::Result<Vec<u8>> {
        match self {
            Self::Hasher => encode(&Frame::DigestBatch(DigestBatch {
                request: RequestId(number),
                algorithm: DigestAlgorithm::Sha256,
                messages: Messages::new(messages)?,
            })),
            Self::Plain => Ok(plain_frame(
                u64::from(number),
                messages.as_flattened().iter().copied(),
            )),
        }
    }

    /// The number of the request that `frame` answers.
    pub fn number(self, frame: &[u8]) -> anyhow::Result<u32> {
        // Type 33, Digests; anything else is no answer to what is asked here.
        let number = match self {
            Self::Hasher if frame.get(4..6) != Some(&[33, 0]) => None,
            Self::Hasher => frame.get(6..).and_then(<[u8]>::first_chunk),
            Self::Plain => frame.get(LENGTH_BYTES..).and_then(<[u8]>::first_chunk),
        };
        match number {
            Some(number) => Ok(u32::from_le_bytes(*number)),
            None => bail!("not an answer: {:02x?}", &frame[..frame.len().min(64)]),
        }
    }

    /// The digests of an answer.
    pub fn digests(self, frame: &[u8]) -> anyhow::Result<Vec<Digest>> {
        match self {
            Self::Hasher => match decode(frame)? {
                Frame::Digests(digests) => Ok(digests.digests),
                other => bail!("expected Digests, got {other:?}"),
            },
            Self::Plain => {
                let digests = &frame[LENGTH_BYTES + NUMBER_BYTES..];
                let (digests, rest) = digests.as_chunks();
                ensure!(rest.is_empty(), "an answer ends within a digest");
                Ok(digests.iter().copied().map(Digest).collect())
            }
        }
    }
}

/// A frame of the plain protocol.
pub fn plain_frame(number: u64, fields: impl ExactSizeIterator<Item = u8>) -> Vec<u8> {
    let length = (NUMBER_BYTES + fields.len()) as u32;
    let mut frame = length.to_le_bytes().to_vec();
    frame.extend(number.to_le_bytes());
    frame.extend(fields);
    frame
}

/// Bytes of the frame that `bytes` begins with, its length included, once that is there.
pub fn frame_bytes(bytes: &[u8]) -> Option<usize> {
    let length = bytes.first_chunk::<LENGTH_BYTES>()?;
    Some(LENGTH_BYTES + u32::from_le_bytes(*length) as usize)
}

fn encode(frame: &Frame) -> anyhow::Result<Vec<u8>> {
    let mut bytes = BytesMut::new();
    Codec.encode(frame, &mut bytes)?;
    Ok(bytes.to_vec())
}

fn decode(frame: &[u8]) -> anyhow::Result<Frame> {
    ensure!(frame.len() <= MAX_FRAME_BYTES, "a frame is too long");
    let frame = Codec.decode(&mut BytesMut::from(frame))?;
    frame.context("half a frame, or one of an unknown type")
}
