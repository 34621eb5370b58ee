use hasher_work::Digest;
use sha2::{Digest as _, Sha256};

/// A digest of data that comes in pieces, of any length.
#[derive(Debug, Clone, Default)]
pub struct DigestStream {
    state: Sha256,
    length: u64,
}

impl DigestStream {
    /// Nothing digested yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes in.
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
        self.length += bytes.len() as u64;
    }

    /// Bytes taken in so far.
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// SHA-256 of all bytes.
    pub fn digest(self) -> Digest {
        Digest(self.state.finalize().into())
    }

    /// SHA-256 of the SHA-256 of all bytes.
    pub fn double_digest(self) -> Digest {
        hasher_work::digest(&self.digest().0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_give_the_digest_of_the_whole(pieces in proptest::collection::vec(any::<Vec<u8>>(), 0..9)) {
            let whole = pieces.concat();
            let mut stream = DigestStream::new();
            for piece in &pieces {
                stream.update(piece);
            }
            prop_assert_eq!(stream.length(), whole.len() as u64);
            prop_assert_eq!(stream.clone().digest(), hasher_work::digest(&whole));
            prop_assert_eq!(stream.double_digest(), hasher_work::double_digest(&whole));
        }
    }
}
