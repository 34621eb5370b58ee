//! The buffers of a forward pass, which a thread keeps for its next inference.
//!
//! Without that, an inference of a small model would spend a seventh of its time in getting
//! memory from the system and giving it back (measured with the digits model).

use std::cell::Cell;
use std::mem;

use super::attention::AttendScratch;
use crate::activation::HashActivation;
use crate::config::Config;

/// Most bytes that a thread keeps.
const KEPT_MAX: usize = 4 << 20;

thread_local! {
    static SPARE: Cell<Option<Scratch>> = const { Cell::new(None) };
}

/// What a forward pass writes on its way; nothing in it outlives a layer.
#[derive(Debug)]
pub(super) struct Scratch {
    pub activation: HashActivation,
    /// Codes of all rows, each padded as the next matrix wants it.
    pub codes: Vec<i16>,
    pub query: Vec<i32>,
    pub key: Vec<i32>,
    pub value: Vec<i32>,
    pub mixed: Vec<i32>,
    /// Normed values or sums of all rows.
    pub sums: Vec<i32>,
    pub attend: AttendScratch,
}

impl Scratch {
    fn new(config: &Config) -> Self {
        Self {
            activation: HashActivation::new(config),
            codes: Vec::new(),
            query: Vec::new(),
            key: Vec::new(),
            value: Vec::new(),
            mixed: Vec::new(),
            sums: Vec::new(),
            attend: AttendScratch::default(),
        }
    }

    /// The thread's spare buffers or new ones, for a model that has been checked.
    pub fn take(config: &Config) -> Self {
        // A thread that ends has none any more.
        let spare = SPARE.try_with(Cell::take).ok().flatten();
        let mut scratch = spare.unwrap_or_else(|| Self::new(config));
        scratch.activation.restart(config);
        scratch
    }

    /// Leaves the buffers to the next inference of this thread; the model's configuration
    /// is that of [`Scratch::take`].
    pub fn put_back(&mut self, config: &Config) {
        if self.bytes() <= KEPT_MAX {
            let scratch = mem::replace(self, Self::new(config));
            _ = SPARE.try_with(|spare| spare.set(Some(scratch)));
        }
    }

    fn bytes(&self) -> usize {
        let rows = [&self.query, &self.key, &self.value, &self.mixed, &self.sums];
        let rows: usize = rows
            .map(|rows| rows.capacity() * size_of::<i32>())
            .iter()
            .sum();
        let codes = self.codes.capacity() * size_of::<i16>();
        rows + codes + self.attend.bytes() + self.activation.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors;

    #[test]
    fn a_thread_keeps_what_is_small() {
        let entry = vectors::load()["tiny"].clone();
        let model = vectors::model(&entry);
        let config = model.config();
        let bytes = |values: usize| {
            let mut scratch = Scratch::take(config);
            scratch.sums.resize(values, 0);
            scratch.put_back(config);
            let spare = Scratch::take(config);
            spare.sums.capacity()
        };
        assert!(bytes(1000) >= 1000);
        assert_eq!(bytes(KEPT_MAX), 0);
    }
}
