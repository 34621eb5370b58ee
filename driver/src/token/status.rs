use bytes::{BufMut, Bytes};

use super::{
    CRC_BYTES, STATUS_REPLY, TokenError, array_at, begin, checked, expect_size, finish, u16_at,
    u32_at,
};
use crate::Layout;

/// Bytes before the first bitmap.
const HEAD_S1: usize = 20;
const HEAD_S3: usize = 28;
/// Bytes of one bitmap word: 32 chips.
const WORD_BYTES: usize = 4;

/// What a status says about one chain.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChainStatus {
    /// Chips that answered at power-up; an S1 rounds up to a power of two.
    pub asic_num: u8,
    /// S3: chips that exist, chip 0 in bit 0 of word 0. Empty on an S1.
    pub exist: Vec<u32>,
    /// Chips in good health, in the same order; one word on an S1.
    pub healthy: Vec<u32>,
}

/// Reply 0xa1: what the board measures.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StatusReply {
    /// `reg_value` is valid.
    pub chip_value: bool,
    /// Block counter of later models; 0 on the known images. Not carried by an S1.
    pub block_count: u8,
    /// Opaque version; only the first byte on an S1.
    pub version: [u8; 4],
    /// Free FIFO places, the real number.
    pub fifo_space: u32,
    /// Nonces that failed the controller's check since the last reset; an S3 counts
    /// those without a work too.
    pub nonce_errors: u32,
    /// A chip register.
    pub reg_value: u32,
    /// The chains found at power-up.
    pub chains: Vec<ChainStatus>,
    /// Temperatures in °C; 0 where there is no sensor.
    pub temperatures: Vec<u8>,
    /// Fan speeds in revolutions a second.
    pub fans: Vec<u8>,
    /// S3: sensors that exist, bit i for sensor i. Not carried by an S1.
    pub temperatures_exist: u32,
    /// S3: fans that exist. Not carried by an S1.
    pub fans_exist: u16,
}

impl StatusReply {
    /// The reply's bytes.
    ///
    /// # Panics
    /// When a count exceeds its one-byte field, or an S1 chain has other than one word.
    pub fn encode(&self, layout: Layout) -> Bytes {
        let count = |n: usize| u8::try_from(n).expect("counts fit in a byte");
        let words = |chain: &ChainStatus| match layout {
            Layout::S1 => 1,
            Layout::S3 => 2 * chain.exist.len(),
        };
        let head = match layout {
            Layout::S1 => HEAD_S1,
            Layout::S3 => HEAD_S3,
        };
        let total = head
            + WORD_BYTES * self.chains.iter().map(words).sum::<usize>()
            + self.chains.len()
            + self.temperatures.len()
            + self.fans.len()
            + CRC_BYTES;
        let mut packet = begin(layout, STATUS_REPLY, total);
        match layout {
            Layout::S1 => {
                packet.put_u8(self.chip_value.into());
                packet.put_u8(self.version[0]);
                packet.put_u32_le(self.fifo_space);
                packet.put_u32_le(self.reg_value);
                packet.put_u32_le(self.nonce_errors);
                packet.put_u8(count(self.chains.len()));
                packet.put_u8(count(self.temperatures.len()));
                packet.put_u8(count(self.fans.len()));
                packet.put_u8(0);
            }
            Layout::S3 => {
                packet.put_u8(u8::from(self.chip_value) | self.block_count << 4);
                packet.put_u8(count(self.chains.len()));
                packet.put_u16_le(u16::try_from(self.fifo_space).unwrap_or(u16::MAX));
                packet.put_slice(&self.version);
                packet.put_u8(count(self.fans.len()));
                packet.put_u8(count(self.temperatures.len()));
                packet.put_u16_le(self.fans_exist);
                packet.put_u32_le(self.temperatures_exist);
                packet.put_u32_le(self.nonce_errors);
                packet.put_u32_le(self.reg_value);
                for word in self.chains.iter().flat_map(|chain| &chain.exist) {
                    packet.put_u32_le(*word);
                }
            }
        }
        for word in self.chains.iter().flat_map(|chain| &chain.healthy) {
            packet.put_u32_le(*word);
        }
        for chain in &self.chains {
            packet.put_u8(chain.asic_num);
        }
        packet.put_slice(&self.temperatures);
        packet.put_slice(&self.fans);
        assert_eq!(
            packet.len() + CRC_BYTES,
            total,
            "bitmaps of unequal length cannot be encoded"
        );
        finish(packet)
    }

    /// Decodes exactly one reply.
    ///
    /// # Errors
    /// [`TokenError`] for a wrong size or checksum, or counts that contradict the size.
    pub fn decode(layout: Layout, bytes: &[u8]) -> Result<Self, TokenError> {
        let head = match layout {
            Layout::S1 => HEAD_S1,
            Layout::S3 => HEAD_S3,
        };
        expect_size(layout, bytes, bytes.len())?;
        if bytes.len() < head + CRC_BYTES {
            return Err(TokenError::WrongLength {
                kind: STATUS_REPLY,
                got: bytes.len(),
            });
        }
        let body = checked(bytes)?;
        match layout {
            Layout::S1 => Self::decode_s1(body),
            Layout::S3 => Self::decode_s3(body),
        }
        .ok_or(TokenError::Inconsistent(STATUS_REPLY))
    }

    fn decode_s1(body: &[u8]) -> Option<Self> {
        let (chains, temperatures, fans) = (body[16].into(), body[17].into(), body[18].into());
        let tail = Tail::split(&body[HEAD_S1..], chains, temperatures, fans)?;
        let (words, rest) = tail.bitmaps.as_chunks::<WORD_BYTES>();
        if !rest.is_empty() || words.len() != chains {
            return None;
        }
        Some(Self {
            chip_value: body[2] & 1 != 0,
            block_count: 0,
            version: [body[3], 0, 0, 0],
            fifo_space: u32_at(body, 4),
            nonce_errors: u32_at(body, 12),
            reg_value: u32_at(body, 8),
            chains: tail
                .asic_nums
                .iter()
                .zip(words)
                .map(|(&asic_num, word)| ChainStatus {
                    asic_num,
                    exist: Vec::new(),
                    healthy: vec![u32::from_le_bytes(*word)],
                })
                .collect(),
            temperatures: tail.temperatures.to_vec(),
            fans: tail.fans.to_vec(),
            temperatures_exist: 0,
            fans_exist: 0,
        })
    }

    fn decode_s3(body: &[u8]) -> Option<Self> {
        if body[1] != 0 {
            return None; // another version
        }
        let (chains, fans, temperatures) = (body[5].into(), body[12].into(), body[13].into());
        let tail = Tail::split(&body[HEAD_S3..], chains, temperatures, fans)?;
        let (words, rest) = tail.bitmaps.as_chunks::<WORD_BYTES>();
        // Sources differ on whether an empty chain has no word or one; the size tells.
        let words_of = |empty: usize| {
            move |asic_num: &u8| match asic_num {
                0 => empty,
                n => usize::from(*n).div_ceil(32),
            }
        };
        let empty_words = (0..=1).find(|&empty| {
            2 * tail.asic_nums.iter().map(words_of(empty)).sum::<usize>() == words.len()
        });
        let empty_words = empty_words.filter(|_| rest.is_empty())?;
        let (mut exist, mut healthy) = words.split_at(words.len() / 2);
        let chains = tail.asic_nums.iter().map(|asic_num| {
            let count = words_of(empty_words)(asic_num);
            ChainStatus {
                asic_num: *asic_num,
                exist: take_words(&mut exist, count),
                healthy: take_words(&mut healthy, count),
            }
        });
        Some(Self {
            chip_value: body[4] & 1 != 0,
            block_count: body[4] >> 4,
            version: array_at(body, 8),
            fifo_space: u16_at(body, 6).into(),
            nonce_errors: u32_at(body, 20),
            reg_value: u32_at(body, 24),
            chains: chains.collect(),
            temperatures: tail.temperatures.to_vec(),
            fans: tail.fans.to_vec(),
            temperatures_exist: u32_at(body, 16),
            fans_exist: u16_at(body, 14),
        })
    }

    /// Whether a reply of `total` bytes can exist at all.
    pub(crate) const fn is_sane_total(layout: Layout, total: usize) -> bool {
        match layout {
            Layout::S1 => total >= HEAD_S1 + CRC_BYTES && total <= 126,
            Layout::S3 => total >= HEAD_S3 + CRC_BYTES && total <= MAX_REPLY_BYTES,
        }
    }
}

/// Largest reply of either kind that any source allows, in bytes.
pub(crate) const MAX_REPLY_BYTES: usize = 1134;

/// The part of a status behind its fixed fields.
struct Tail<'a> {
    bitmaps: &'a [u8],
    asic_nums: &'a [u8],
    temperatures: &'a [u8],
    fans: &'a [u8],
}

impl<'a> Tail<'a> {
    /// Cuts the tail from behind, since only its end has a known size.
    fn split(tail: &'a [u8], chains: usize, temperatures: usize, fans: usize) -> Option<Self> {
        let (tail, fans) = tail.split_at_checked(tail.len().checked_sub(fans)?)?;
        let (tail, temperatures) = tail.split_at_checked(tail.len().checked_sub(temperatures)?)?;
        let (bitmaps, asic_nums) = tail.split_at_checked(tail.len().checked_sub(chains)?)?;
        Some(Self {
            bitmaps,
            asic_nums,
            temperatures,
            fans,
        })
    }
}

/// Takes the first `count` words off the slice.
fn take_words(words: &mut &[[u8; WORD_BYTES]], count: usize) -> Vec<u32> {
    let (taken, rest) = words.split_at(count);
    *words = rest;
    taken.iter().map(|word| u32::from_le_bytes(*word)).collect()
}
