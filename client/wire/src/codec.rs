use bytes::{Buf, BufMut, BytesMut};
use hasher_work::Digest;

use crate::decode::decode_body;
use crate::encode::{encode_body, encode_digests};
use crate::{ComputedBy, Frame, MAX_FRAME_BYTES, RequestId, WireError};

/// Bytes of the length field.
const LENGTH_BYTES: usize = 4;
/// Bytes of the type field.
const TYPE_BYTES: usize = 2;

/// Cuts a byte stream into frames and writes frames into one.
///
/// It keeps no state: whatever is not a whole frame yet stays in the buffer. It
/// needs no version either, because every version of one major number is told
/// apart by where its frames end. `tokio_util`'s codec traits forward to it in
/// the daemon and the client.
#[derive(Debug, Clone, Copy, Default)]
pub struct Codec;

impl Codec {
    /// The next frame of `bytes`, or nothing until more bytes have come. Frames of
    /// an unknown type are skipped.
    ///
    /// # Errors
    /// Any [`WireError`]; the rest of the stream is then meaningless.
    pub fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<Frame>, WireError> {
        while let Some(length) = bytes.first_chunk::<LENGTH_BYTES>() {
            let length = u32::from_le_bytes(*length);
            let max = MAX_FRAME_BYTES;
            let whole = u64::from(length) + LENGTH_BYTES as u64;
            if whole > max as u64 {
                return Err(WireError::FrameTooLong { length: whole, max });
            }
            if (length as usize) < TYPE_BYTES {
                return Err(WireError::FrameTooShort { length });
            }
            let whole = whole as usize;
            if bytes.len() < whole {
                bytes.reserve(whole - bytes.len());
                return Ok(None);
            }
            let mut frame = bytes.split_to(whole).freeze();
            frame.advance(LENGTH_BYTES);
            let kind = frame.get_u16_le();
            if let Some(frame) = decode_body(kind, frame)? {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    /// Appends `frame` to `bytes`; after an error `bytes` is as it was.
    ///
    /// # Errors
    /// [`WireError::TooMany`] and [`WireError::FrameTooLong`] when a value exceeds
    /// its bound.
    pub fn encode(&mut self, frame: &Frame, bytes: &mut BytesMut) -> Result<(), WireError> {
        append(bytes, |bytes| encode_body(frame, bytes))
    }

    /// Appends a [`Digests`](Frame::Digests) frame to `bytes`, of parts that lie apart; after
    /// an error `bytes` is as it was.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_digests(
        &mut self,
        request: RequestId,
        computed_by: &ComputedBy,
        digests: &[Digest],
        bytes: &mut BytesMut,
    ) -> Result<(), WireError> {
        append(bytes, |bytes| {
            encode_digests(request, computed_by, digests, bytes)
        })
    }
}

/// Puts a frame behind `bytes`: length and type around what `encode_fields` appends, which
/// returns the type.
fn append(
    bytes: &mut BytesMut,
    encode_fields: impl FnOnce(&mut BytesMut) -> Result<u16, WireError>,
) -> Result<(), WireError> {
    let start = bytes.len();
    bytes.put_bytes(0, LENGTH_BYTES + TYPE_BYTES);
    let written = encode_fields(bytes).and_then(|kind| {
        let whole = bytes.len() - start;
        if whole > MAX_FRAME_BYTES {
            return Err(WireError::FrameTooLong {
                length: whole as u64,
                max: MAX_FRAME_BYTES,
            });
        }
        Ok((kind, whole))
    });
    match written {
        Ok((kind, whole)) => {
            let length = (whole - LENGTH_BYTES) as u32;
            bytes[start..start + LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
            bytes[start + LENGTH_BYTES..start + LENGTH_BYTES + TYPE_BYTES]
                .copy_from_slice(&kind.to_le_bytes());
            Ok(())
        }
        Err(error) => {
            bytes.truncate(start);
            Err(error)
        }
    }
}
