//! Memory that is asked for while loops hash.
//!
//! A batch that came from another processor lies in that one's cache, and its digests go
//! back there. Asking for hundreds of lines at once makes a processor wait, since it has
//! room for a dozen questions; a few between two parts of a hash cost nothing.

use std::ops::Range;

/// Lines asked for between two parts of a hash: fewer than a processor can wait for at once.
const LINES: usize = 8;

/// Bytes of a cache line.
const LINE_BYTES: usize = 64;

/// Which memory the caller reads and writes next, so that the hash loops bring it into this
/// processor's cache meanwhile. A hint: nothing is read or written, and any address will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ahead {
    /// Addresses, as those below.
    writes: Range<usize>,
    reads: Range<usize>,
}

impl Ahead {
    /// No memory.
    pub const NOTHING: Self = Self {
        writes: 0..0,
        reads: 0..0,
    };

    /// What is going to be written, which is asked for first, and what is going to be read.
    pub fn new(writes: Range<*const u8>, reads: Range<*const u8>) -> Self {
        let lines = |range: Range<*const u8>| {
            let begin = range.start.addr() / LINE_BYTES * LINE_BYTES;
            let end = range.end.addr().checked_next_multiple_of(LINE_BYTES);
            begin..end.unwrap_or(begin)
        };
        Self {
            writes: lines(writes),
            reads: lines(reads),
        }
    }

    /// Asks for the next [`LINES`]. Loops of many lanes call it four times a block.
    #[inline(always)]
    pub(crate) fn ask(&mut self) {
        for _ in 0..LINES {
            if let Some(line) = next(&mut self.writes) {
                ask_to_write(line);
            } else if let Some(line) = next(&mut self.reads) {
                ask_to_read(line);
            } else {
                return;
            }
        }
    }
}

#[inline(always)]
fn next(lines: &mut Range<usize>) -> Option<usize> {
    let line = lines.start;
    (line < lines.end).then(|| {
        lines.start += LINE_BYTES;
        line
    })
}

#[cfg(target_arch = "x86_64")]
use crate::x86::ahead::{ask_to_read, ask_to_write};

#[cfg(not(target_arch = "x86_64"))]
const fn ask_to_read(_line: usize) {}
#[cfg(not(target_arch = "x86_64"))]
const fn ask_to_write(_line: usize) {}

#[cfg(test)]
mod tests {
    use std::ptr::without_provenance;

    use super::*;

    fn range(from: usize, to: usize) -> Range<*const u8> {
        without_provenance(from)..without_provenance(to)
    }

    #[test]
    fn every_line_is_asked_for_once_and_those_to_write_first() {
        let mut ahead = Ahead::new(range(130, 129 + 64 * 3), range(640, 1280));
        assert_eq!(
            (ahead.writes.clone(), ahead.reads.clone()),
            (128..384, 640..1280)
        );
        ahead.ask();
        assert_eq!(
            (ahead.writes.clone(), ahead.reads.clone()),
            (384..384, 896..1280)
        );
        ahead.ask();
        ahead.ask();
        assert_eq!((ahead.writes, ahead.reads), (384..384, 1280..1280));
    }

    #[test]
    fn nothing_and_ranges_that_end_before_they_begin_have_no_line() {
        for mut ahead in [Ahead::NOTHING, Ahead::new(range(640, 64), range(64, 64))] {
            let before = ahead.clone();
            ahead.ask();
            assert_eq!(ahead, before);
        }
    }
}
