//! Nonce scans: what all kernels share of them.
//!
//! A kernel only sorts out candidates, by the top word of the digest; each is then
//! hashed again by the portable code, so that a hit never rests on vector code
//! alone and its digest costs the kernel nothing.

use hasher_work::{Digest, Nonce, Target, Work};

use crate::kernel::Kernel;
use crate::sha256::{HEADER_BITS, K, MARKER, round, small_sigma0, small_sigma1};

/// How a scan counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanOrder {
    /// By the number that header byte order gives ([`Nonce`]'s own value).
    Header,
    /// By message word W3, as a chip counts.
    Chip,
}

impl ScanOrder {
    pub(crate) const fn nonce(self, number: u32) -> Nonce {
        match self {
            Self::Header => Nonce(number),
            Self::Chip => Nonce::from_w3(number),
        }
    }
}

/// All that can be computed of a scan before any nonce is known.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub work: Work,
    pub order: ScanOrder,
    /// The most that the digest's last four bytes, read as a little-endian number,
    /// may be: the target's own top word, the cheapest exact filter.
    pub top: u32,
    pub midstate: [u32; 8],
    /// State words a to h after round 1 of the header's second block.
    pub after_round_1: [u32; 8],
    /// State words a to h after round 3 with a nonce of zero.
    pub after_round_3: [u32; 8],
    /// W plus K of rounds 0 to 17 of the header's second block; that of round 3
    /// with a nonce of zero.
    pub words_and_constants: [u32; 18],
    /// What is known of words 16 to 31: see [`schedule_constants`].
    pub schedule: [u32; 16],
}

impl Plan {
    pub fn new(work: &Work, order: ScanOrder, target: &Target) -> Self {
        let [.., t28, t29, t30, t31] = target.to_le_bytes();
        let Work { midstate, tail } = *work;
        let [w0, w1, w2] = tail.0;
        let w16 = small_sigma0(w1).wrapping_add(w0);
        let w17 = small_sigma1(HEADER_BITS)
            .wrapping_add(small_sigma0(w2))
            .wrapping_add(w1);
        let mut words = [0; 18];
        words[..3].copy_from_slice(&tail.0);
        words[4] = MARKER;
        words[15] = HEADER_BITS;
        words[16..].copy_from_slice(&[w16, w17]);
        let words_and_constants = std::array::from_fn(|t| K[t].wrapping_add(words[t]));
        let after = |rounds: usize| {
            words_and_constants[..rounds]
                .iter()
                .fold(midstate.0, |state, word| round(state, *word))
        };
        Self {
            work: *work,
            order,
            top: u32::from_le_bytes([t28, t29, t30, t31]),
            midstate: midstate.0,
            after_round_1: after(2),
            after_round_3: after(4),
            words_and_constants,
            schedule: schedule_constants(tail.0, w16, w17),
        }
    }
}

/// What the scan adds to words 16 to 31 of the header's second block besides the
/// nonce and each other; zero where nothing.
fn schedule_constants(tail: [u32; 3], w16: u32, w17: u32) -> [u32; 16] {
    let mut known = [0; 16];
    known[0] = w16;
    known[1] = w17;
    known[2] = small_sigma1(w16).wrapping_add(tail[2]);
    known[3] = small_sigma1(w17).wrapping_add(small_sigma0(MARKER));
    known[4] = MARKER;
    known[6] = HEADER_BITS;
    known[14] = small_sigma0(HEADER_BITS);
    known[15] = small_sigma0(w16).wrapping_add(HEADER_BITS);
    known
}

/// Where a kernel stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Candidates {
    /// Groups tried.
    pub groups: u32,
    /// Numbers of the last group that passed the filter, the first in bit 0.
    pub lanes: u32,
}

/// Groups that a kernel tries in one call: keeps the numbers it counts in 32 bits.
const GROUPS_MAX: u64 = 1 << 24;

/// See [`crate::scan()`].
pub(crate) fn scan(
    kernel: Kernel,
    plan: &Plan,
    target: &Target,
    (first, count): (u32, u64),
    mut found: impl FnMut(Nonce, Digest) -> bool,
) -> u64 {
    let lanes = u64::from(kernel.scan_lanes());
    let count = count.min(1 << 32);
    let mut tried = 0;
    while tried < count {
        let groups = (count - tried).div_ceil(lanes).min(GROUPS_MAX) as u32;
        let start = first.wrapping_add(tried as u32);
        let candidates = kernel.scan_groups(plan, start, groups);
        tried += (u64::from(candidates.groups) - 1) * lanes;
        let mut left = candidates.lanes;
        while left != 0 {
            let at = tried + u64::from(left.trailing_zeros());
            if at >= count {
                return count; // the last group reaches beyond the end
            }
            left &= left - 1;
            let nonce = plan.order.nonce(first.wrapping_add(at as u32));
            let digest = plan.work.digest(nonce);
            if target.is_met_by(&digest) && !found(nonce, digest) {
                return at + 1;
            }
        }
        tried += lanes;
    }
    count
}
