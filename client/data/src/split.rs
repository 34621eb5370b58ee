//! Which examples are for the test: always the same ones for the same data, so that
//! runs with other rng seeds can be compared and resumed.

use hasher_work::digest;

/// Numbers 0 to `count` − 1 in an order that depends on `salt` only.
pub(crate) fn order(count: usize, salt: &str) -> Vec<usize> {
    let mut stream = Stream::new(salt);
    let mut order: Vec<usize> = (0..count).collect();
    for at in (1..count).rev() {
        order.swap(at, stream.below(at + 1));
    }
    order
}

/// Splits an order: the last `test_percent` per cent, rounded down, are for the test.
pub(crate) fn split(mut order: Vec<usize>, test_percent: u8) -> (Vec<usize>, Vec<usize>) {
    let test = order.len() * usize::from(test_percent) / 100;
    let test = order.split_off(order.len() - test);
    (order, test)
}

/// Numbers from SHA-256 of a name: no generator that another version might change.
#[derive(Debug)]
pub(crate) struct Stream {
    salt: String,
    block: u64,
    unused: Vec<u64>,
}

impl Stream {
    pub(crate) fn new(salt: &str) -> Self {
        Self {
            salt: format!("hasher-data/1 {salt}"),
            block: 0,
            unused: Vec::new(),
        }
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        if let Some(number) = self.unused.pop() {
            return number;
        }
        let block = digest(format!("{} {}", self.salt, self.block).as_bytes()).0;
        self.block += 1;
        let words = block
            .as_chunks()
            .0
            .iter()
            .map(|word| u64::from_le_bytes(*word));
        self.unused.extend(words);
        self.unused.pop().unwrap_or_default()
    }

    /// A number below `bound` (> 0), with a bias below `bound` / 2⁶⁴.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next_u64()) * bound as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_holds_every_number_once_and_depends_on_its_salt() {
        let first = order(100, "a");
        assert_eq!(first, order(100, "a"));
        assert_ne!(first, order(100, "b"));
        let (train, test) = split(first, 25);
        assert_eq!((train.len(), test.len()), (75, 25));
        let mut all = [train, test].concat();
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<_>>());
    }
}
