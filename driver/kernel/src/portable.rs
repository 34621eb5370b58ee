//! The kernel that every CPU has: the `sha2` crate's compression function.

use hasher_work::{Digest, INITIAL_STATE};
use sha2::block_api::compress256;

use crate::scan::{Candidates, Plan};
use crate::sha256::{DIGEST_BITS, HEADER_BITS};

/// Numbers of one group.
pub(crate) const LANES: u32 = 1;

/// See [`crate::kernel::Kernel::scan_groups`].
pub(crate) fn scan_groups(plan: &Plan, first: u32, groups: u32) -> Candidates {
    let mut header_block = [0; 64];
    header_block[..12].copy_from_slice(&plan.work.tail.to_header_bytes());
    header_block[16] = 0x80;
    header_block[60..].copy_from_slice(&HEADER_BITS.to_be_bytes());
    let mut digest_block = [0; 64];
    digest_block[32] = 0x80;
    digest_block[60..].copy_from_slice(&DIGEST_BITS.to_be_bytes());
    for done in 0..groups {
        let nonce = plan.order.nonce(first.wrapping_add(done));
        header_block[12..16].copy_from_slice(&nonce.0.to_le_bytes());
        let mut state = plan.midstate;
        compress256(&mut state, std::slice::from_ref(&header_block));
        for (bytes, word) in digest_block.as_chunks_mut::<4>().0.iter_mut().zip(state) {
            *bytes = word.to_be_bytes();
        }
        let mut state = INITIAL_STATE;
        compress256(&mut state, std::slice::from_ref(&digest_block));
        if state[7].swap_bytes() <= plan.top {
            return Candidates {
                groups: done + 1,
                lanes: 1,
            };
        }
    }
    Candidates { groups, lanes: 0 }
}

/// Digests of all messages; how many.
pub(crate) fn digest_group(messages: &[&[u8]], double: bool, digests: &mut [Digest]) -> usize {
    let digest = if double {
        hasher_work::double_digest
    } else {
        hasher_work::digest
    };
    for (message, out) in messages.iter().zip(digests) {
        *out = digest(message);
    }
    messages.len()
}
