use std::fmt;

use sha2::block_api::compress256;

use crate::{Digest, Nonce, WorkError, from_hex, to_hex};

/// State words of SHA-256 before the first block (FIPS 180-4, 5.3.3).
pub const INITIAL_STATE: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// The 80 bytes that are hashed: version, previous hash, Merkle root, time,
/// nbits, nonce. Only the length is checked; any 80 bytes are a header.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Header(pub [u8; 80]);

impl Header {
    /// From a byte string.
    ///
    /// # Errors
    /// [`WorkError::BadLength`] unless it has 80 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WorkError> {
        bytes
            .try_into()
            .map(Self)
            .map_err(|_| WorkError::BadLength {
                what: "header",
                expected: 80,
                got: bytes.len(),
            })
    }

    /// The time field (bytes 68 to 71), little-endian: the field a search may roll.
    pub fn time(&self) -> u32 {
        u32::from_le_bytes([self.0[68], self.0[69], self.0[70], self.0[71]])
    }

    /// The same header with another time field.
    #[must_use]
    pub fn with_time(mut self, time: u32) -> Self {
        self.0[68..72].copy_from_slice(&time.to_le_bytes());
        self
    }

    /// The nonce field (bytes 76 to 79).
    pub fn nonce(&self) -> Nonce {
        Nonce(u32::from_le_bytes([
            self.0[76], self.0[77], self.0[78], self.0[79],
        ]))
    }

    /// The same header with another nonce.
    #[must_use]
    pub fn with_nonce(mut self, nonce: Nonce) -> Self {
        self.0[76..80].copy_from_slice(&nonce.0.to_le_bytes());
        self
    }

    /// What a search over this header's nonces needs: midstate and tail.
    pub fn work(&self) -> Work {
        let (first, rest) = self.0.split_first_chunk::<64>().expect("80 bytes hold 64");
        let tail = rest.first_chunk::<12>().expect("16 bytes hold 12");
        Work {
            midstate: Midstate::of(first),
            tail: Tail::from_header_bytes(*tail),
        }
    }

    /// The double digest of all 80 bytes.
    pub fn double_digest(&self) -> Digest {
        crate::double_digest(&self.0)
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Header({self})")
    }
}

impl std::str::FromStr for Header {
    type Err = WorkError;

    /// Reads 160 hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, WorkError> {
        Self::from_bytes(&from_hex(text)?)
    }
}

/// SHA-256's eight state words after a header's first 64 bytes. Not a digest:
/// nothing is padded or finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Midstate(pub [u32; 8]);

impl Midstate {
    /// The midstate of 64 bytes.
    pub fn of(first: &[u8; 64]) -> Self {
        let mut state = INITIAL_STATE;
        compress256(&mut state, std::slice::from_ref(first));
        Self(state)
    }

    /// From the 32 bytes of a TxTask: each word little-endian, h0 first.
    pub fn from_wire(bytes: [u8; 32]) -> Self {
        let mut words = [0; 8];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        Self(words)
    }

    /// The 32 bytes of a TxTask.
    pub fn to_wire(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (bytes, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(self.0) {
            *bytes = word.to_le_bytes();
        }
        bytes
    }

    /// Whether an Antminer S3 would silently drop a work with this midstate.
    ///
    /// Its chips' frame begins with the wire midstate's last byte, and the
    /// controller takes 0xAA there for a voltage command: 1 midstate in 256.
    pub const fn is_dropped_by_s3(self) -> bool {
        self.0[7] >> 24 == 0xaa
    }
}

/// Header bytes 64 to 75 as SHA-256's message words W0 to W2: the end of the
/// Merkle root, time and nbits, each loaded big-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tail(pub [u32; 3]);

impl Tail {
    /// From header bytes 64 to 75.
    pub fn from_header_bytes(bytes: [u8; 12]) -> Self {
        let mut words = [0; 3];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *word = u32::from_be_bytes(*bytes);
        }
        Self(words)
    }

    /// Header bytes 64 to 75.
    pub fn to_header_bytes(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        for (bytes, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(self.0) {
            *bytes = word.to_be_bytes();
        }
        bytes
    }

    /// From the 12 data bytes of a TxTask: each word little-endian, W0 first.
    pub fn from_wire(bytes: [u8; 12]) -> Self {
        let mut words = [0; 3];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        Self(words)
    }

    /// The 12 data bytes of a TxTask.
    pub fn to_wire(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        for (bytes, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(self.0) {
            *bytes = word.to_le_bytes();
        }
        bytes
    }
}

/// What a device needs to search: a header without its nonce, with the first
/// 64 bytes already compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Work {
    /// State after header bytes 0 to 63.
    pub midstate: Midstate,
    /// Header bytes 64 to 75.
    pub tail: Tail,
}

impl Work {
    /// The double digest of the header that this work and `nonce` make: the
    /// proof behind every reported nonce. Two compressions.
    pub fn digest(&self, nonce: Nonce) -> Digest {
        let mut block = [0; 64];
        block[..12].copy_from_slice(&self.tail.to_header_bytes());
        block[12..16].copy_from_slice(&nonce.0.to_le_bytes());
        block[16] = 0x80;
        block[62..].copy_from_slice(&640u16.to_be_bytes()); // 80 bytes = 640 bits
        let mut state = self.midstate.0;
        compress256(&mut state, std::slice::from_ref(&block));
        Digest(finish_32(state))
    }

    /// The double digest if it has at least `zero_bits` leading zero bits, else nothing.
    pub fn verify(&self, nonce: Nonce, zero_bits: u32) -> Option<Digest> {
        Some(self.digest(nonce)).filter(|digest| digest.leading_zero_bits() >= zero_bits)
    }
}

/// SHA-256 of the 32 bytes that the state words stand for.
fn finish_32(first: [u32; 8]) -> [u8; 32] {
    let mut block = [0; 64];
    for (bytes, word) in block.as_chunks_mut::<4>().0.iter_mut().zip(first) {
        *bytes = word.to_be_bytes();
    }
    block[32] = 0x80;
    block[62..].copy_from_slice(&256u16.to_be_bytes());
    let mut state = INITIAL_STATE;
    compress256(&mut state, std::slice::from_ref(&block));
    let mut bytes = [0; 32];
    for (bytes, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Target, from_hex};

    fn vectors() -> serde_json::Value {
        let text = include_str!("../../../tests/fixtures/bitmain-vectors.json");
        serde_json::from_str(text).expect("the fixture is JSON")
    }

    #[test]
    fn published_works_have_the_wire_bytes_of_the_vectors() {
        let vectors = vectors();
        let works = vectors["works"].as_array().unwrap();
        assert!(works.len() >= 11);
        for work in works {
            let name = &work["name"];
            let midstate: [u8; 32] = from_hex(work["midstate_wire"].as_str().unwrap())
                .unwrap()
                .try_into()
                .unwrap();
            let data: [u8; 12] = from_hex(work["data_wire"].as_str().unwrap())
                .unwrap()
                .try_into()
                .unwrap();
            let ours = Work {
                midstate: Midstate::from_wire(midstate),
                tail: Tail::from_wire(data),
            };
            assert_eq!(ours.midstate.to_wire(), midstate, "{name}");
            assert_eq!(ours.tail.to_wire(), data, "{name}");
            assert_eq!(
                ours.midstate.is_dropped_by_s3(),
                work["s3_discarded"].as_bool().unwrap(),
                "{name}"
            );
            let wire: [u8; 4] = from_hex(work["nonce"]["wire_bytes"].as_str().unwrap())
                .unwrap()
                .try_into()
                .unwrap();
            let nonce = Nonce::from_wire(wire);
            assert_eq!(nonce.to_wire(), wire);
            let digest = ours.verify(nonce, 32).expect("a published nonce passes");
            assert_eq!(
                digest.display_order(),
                work["hash_display"].as_str().unwrap(),
                "{name}"
            );
            assert_eq!(
                u64::from(digest.leading_zero_bits()),
                work["zero_bits"].as_u64().unwrap()
            );
            if let Some(header) = work["header_hex"].as_str() {
                let header: Header = header.parse().unwrap();
                assert_eq!(header.work(), ours, "{name}");
                assert_eq!(header.nonce(), nonce, "{name}");
                assert_eq!(header.double_digest(), digest, "{name}");
            }
        }
    }

    #[test]
    fn a_wrong_nonce_does_not_verify() {
        let vectors = vectors();
        let header: Header = vectors["works"][0]["header_hex"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        let wrong = Nonce(header.nonce().0 ^ 1);
        assert_eq!(header.work().verify(wrong, 32), None);
    }

    #[test]
    fn header_of_wrong_length_is_refused() {
        let error = "00".repeat(79).parse::<Header>().unwrap_err();
        assert_eq!(error.to_string(), "header must be 80 bytes long, got 79");
    }

    proptest! {
        #[test]
        fn midstate_path_equals_hashing_all_80_bytes(bytes in any::<[u8; 32]>(), more in any::<[u8; 32]>(), end in any::<[u8; 16]>()) {
            let mut header = [0; 80];
            header[..32].copy_from_slice(&bytes);
            header[32..64].copy_from_slice(&more);
            header[64..].copy_from_slice(&end);
            let header = Header(header);
            prop_assert_eq!(header.work().digest(header.nonce()), header.double_digest());
            prop_assert!(Target::ANY.is_met_by(&header.double_digest()));
            prop_assert_eq!(Header::from_bytes(&header.0).unwrap(), header);
        }

        #[test]
        fn target_compares_like_the_number(a in any::<[u8; 32]>(), b in any::<[u8; 32]>()) {
            let ge = a.iter().rev().cmp(b.iter().rev()).is_ge();
            prop_assert_eq!(Target::from_le_bytes(a).is_met_by(&Digest(b)), ge);
        }
    }
}
