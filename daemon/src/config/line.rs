//! Places in a text as line numbers.

use std::ops::Range;

/// Where the lines of a text begin.
pub(super) struct Lines(Vec<usize>);

impl Lines {
    pub(super) fn new(text: &str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self(
            std::iter::once(0)
                .chain(ends.map(|(at, _)| at + 1))
                .collect(),
        )
    }

    /// The line of a place, counted from 1.
    pub(super) fn of(&self, place: Range<usize>) -> usize {
        self.0.partition_point(|begin| *begin <= place.start)
    }
}
