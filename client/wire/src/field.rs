//! Single fields: the reader that never runs over the end, and bounded texts.

use std::fmt;
use std::ops::Deref;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::WireError;

/// A text of at most `MAX` bytes of UTF-8 without control characters, so that it
/// can be logged and shown as it is.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Text<const MAX: usize>(String);

impl<const MAX: usize> Text<MAX> {
    /// The text, cut at `MAX` bytes, control characters replaced by U+FFFD.
    pub fn new(text: &str) -> Self {
        let mut clean = String::with_capacity(text.len().min(MAX));
        for c in text.chars() {
            let c = if c.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            };
            if clean.len() + c.len_utf8() > MAX {
                break;
            }
            clean.push(c);
        }
        Self(clean)
    }
}

impl<const MAX: usize> Deref for Text<MAX> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> From<&str> for Text<MAX> {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl<const MAX: usize> From<String> for Text<MAX> {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl<const MAX: usize> fmt::Display for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<const MAX: usize> fmt::Debug for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Reads the fields of one frame or record; knows its name for errors.
pub(crate) struct Reader {
    frame: &'static str,
    bytes: Bytes,
}

impl Reader {
    pub(crate) const fn new(frame: &'static str, bytes: Bytes) -> Self {
        Self { frame, bytes }
    }

    /// Whether the sender's version ended the frame here.
    pub(crate) fn is_at_end(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn take(&mut self, length: usize, field: &'static str) -> Result<Bytes, WireError> {
        if self.bytes.len() < length {
            let frame = self.frame;
            return Err(WireError::Truncated { frame, field });
        }
        Ok(self.bytes.split_to(length))
    }

    /// All that is left.
    pub(crate) fn rest(self) -> Bytes {
        self.bytes
    }

    pub(crate) fn array<const N: usize>(
        &mut self,
        field: &'static str,
    ) -> Result<[u8; N], WireError> {
        // Copied where it stands: a handle to the frame for each number would cost more
        // than the digests of small messages.
        let Some(array) = self.bytes.first_chunk().copied() else {
            let frame = self.frame;
            return Err(WireError::Truncated { frame, field });
        };
        self.bytes.advance(N);
        Ok(array)
    }

    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8, WireError> {
        self.array(field).map(u8::from_le_bytes)
    }

    pub(crate) fn u16(&mut self, field: &'static str) -> Result<u16, WireError> {
        self.array(field).map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32, WireError> {
        self.array(field).map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self, field: &'static str) -> Result<u64, WireError> {
        self.array(field).map(u64::from_le_bytes)
    }

    /// A count that must not exceed `max`.
    pub(crate) fn count(&mut self, field: &'static str, max: usize) -> Result<usize, WireError> {
        let count = usize::from(self.u16(field)?);
        check_count(self.frame, field, count, max)?;
        Ok(count)
    }

    /// A byte string with its length in front.
    pub(crate) fn bytes(&mut self, field: &'static str, max: usize) -> Result<Bytes, WireError> {
        let length = self.count(field, max)?;
        self.take(length, field)
    }

    pub(crate) fn string(&mut self, field: &'static str, max: usize) -> Result<String, WireError> {
        let frame = self.frame;
        String::from_utf8(self.bytes(field, max)?.into())
            .map_err(|_| WireError::NotUtf8 { frame, field })
    }

    pub(crate) fn text<const MAX: usize>(
        &mut self,
        field: &'static str,
    ) -> Result<Text<MAX>, WireError> {
        Ok(Text::new(&self.string(field, MAX)?))
    }

    pub(crate) fn bad(&self, field: &'static str, value: impl Into<u64>) -> WireError {
        WireError::BadField {
            frame: self.frame,
            field,
            value: value.into(),
        }
    }
}

/// Refuses a count beyond its bound.
pub(crate) const fn check_count(
    frame: &'static str,
    field: &'static str,
    count: usize,
    max: usize,
) -> Result<(), WireError> {
    if count > max {
        return Err(WireError::TooMany {
            frame,
            field,
            count,
            max,
        });
    }
    Ok(())
}

/// Writes a byte string with its length in front; at most `max` (below 2¹⁶) bytes.
pub(crate) fn put_bytes(
    out: &mut BytesMut,
    frame: &'static str,
    field: &'static str,
    bytes: &[u8],
    max: usize,
) -> Result<(), WireError> {
    check_count(frame, field, bytes.len(), max)?;
    out.put_u16_le(bytes.len() as u16);
    out.put_slice(bytes);
    Ok(())
}

/// Writes a text with its length in front; its type already bounds it.
pub(crate) fn put_text<const MAX: usize>(out: &mut BytesMut, text: &Text<MAX>) {
    out.put_u16_le(text.len() as u16);
    out.put_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_at_a_character_and_carries_no_control_character() {
        assert_eq!(&*Text::<5>::new("ab\ncd"), "ab\u{fffd}");
        assert_eq!(&*Text::<4>::new("aéé"), "aé");
        assert_eq!(&*Text::<64>::new("hasher 1.0"), "hasher 1.0");
    }
}
