//! The messages of a digest batch, in one piece of memory.

use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::field::{check_count, put_bytes};
use crate::{MAX_FRAME_BYTES, MAX_MESSAGES, WireError};

/// The frame that has messages, for errors.
const FRAME: &str = "DigestBatch";

/// Bytes in front of each message: its length.
const LENGTH_BYTES: usize = 2;

/// At most [`MAX_MESSAGES`] messages of less than 64 KiB each.
///
/// They are kept as they travel, each behind its length: a handle for each of them would
/// cost more than the digest of a small one.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Messages {
    /// Whole records; nothing lies behind the last.
    records: Bytes,
    count: usize,
}

impl Messages {
    /// Copies `messages`.
    ///
    /// # Errors
    /// [`WireError::TooMany`] when there are too many or one is too long. All together may
    /// still be too long for a frame; then it cannot be encoded.
    pub fn new<M: AsRef<[u8]>>(messages: impl IntoIterator<Item = M>) -> Result<Self, WireError> {
        let (mut records, mut count) = (BytesMut::new(), 0);
        for message in messages {
            count += 1;
            check_count(FRAME, "messages", count, MAX_MESSAGES)?;
            let message = message.as_ref();
            put_bytes(&mut records, FRAME, "message", message, MAX_FRAME_BYTES - 1)?;
        }
        let records = records.freeze();
        Ok(Self { records, count })
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many bytes they have together.
    pub const fn bytes(&self) -> usize {
        self.records.len() - self.count * LENGTH_BYTES
    }

    /// Each of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &*self.records;
        std::iter::from_fn(move || {
            let length = rest.try_get_u16_le().ok()?;
            let (message, later) = rest.split_at_checked(length.into())?;
            rest = later;
            Some(message)
        })
    }

    /// The first `count` records of `bytes`.
    pub(crate) fn decode(mut bytes: Bytes, count: usize) -> Result<Self, WireError> {
        let mut rest = &*bytes;
        for _ in 0..count {
            let length = rest.try_get_u16_le().map_err(|_| truncated())?;
            rest = rest.get(length.into()..).ok_or_else(truncated)?;
        }
        bytes.truncate(bytes.len() - rest.len());
        let records = bytes;
        Ok(Self { records, count })
    }

    pub(crate) fn encode(&self, out: &mut BytesMut) {
        out.put_slice(&self.records);
    }
}

impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

const fn truncated() -> WireError {
    WireError::Truncated {
        frame: FRAME,
        field: "message",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_one_by_one() {
        let given: [&[u8]; 4] = [b"abc", b"", &[7; 300], b""];
        let messages = Messages::new(given).unwrap();
        assert!(messages.iter().eq(given));
        assert_eq!([messages.len(), messages.bytes()], [4, 303]);
        assert!(!messages.is_empty() && Messages::default().is_empty());
        assert_eq!(
            format!("{:?}", Messages::new(["a", ""]).unwrap()),
            "[[97], []]"
        );
    }

    #[test]
    fn what_a_batch_cannot_hold_is_refused() {
        assert!(Messages::new(vec![""; MAX_MESSAGES]).is_ok());
        let too_many = Messages::new(vec![""; MAX_MESSAGES + 1]).unwrap_err();
        assert!(matches!(too_many, WireError::TooMany { count: 1025, .. }));
        assert!(Messages::new([vec![0; MAX_FRAME_BYTES - 1]]).is_ok());
        let too_long = Messages::new([vec![0; MAX_FRAME_BYTES]]).unwrap_err();
        assert!(matches!(
            too_long,
            WireError::TooMany {
                field: "message",
                ..
            }
        ));
    }

    #[test]
    fn no_record_is_read_past_the_end() {
        let whole = Messages::new(["ab", "c"]).unwrap();
        for end in 0..whole.records.len() {
            let error = Messages::decode(whole.records.slice(..end), 2).unwrap_err();
            assert!(matches!(error, WireError::Truncated { .. }), "{end}");
        }
        let mut longer = BytesMut::from(&*whole.records);
        longer.put_slice(b"of a later version");
        assert_eq!(Messages::decode(longer.freeze(), 2).unwrap(), whole);
    }
}
