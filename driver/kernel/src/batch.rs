//! Digests of many messages: which of them go through a kernel together.
//!
//! Lanes take equally long, so messages of equally many blocks should meet in a
//! group. Messages are taken window by window, which bounds the space for that, and
//! within a window in the order of their lengths.

use hasher_work::Digest;

use crate::kernel::Kernel;
use crate::sha256::blocks;

/// Messages looked at together: several groups of the widest kernel.
const WINDOW: usize = 256;

/// The digest (or double digest) of each message, in order.
pub(crate) fn digests<M: AsRef<[u8]>>(kernel: Kernel, messages: &[M], double: bool) -> Vec<Digest> {
    let mut digests = vec![Digest([0; 32]); messages.len()];
    for (messages, digests) in messages.chunks(WINDOW).zip(digests.chunks_mut(WINDOW)) {
        let mut window: [&[u8]; WINDOW] = [&[]; WINDOW];
        for (slot, message) in window.iter_mut().zip(messages) {
            *slot = message.as_ref();
        }
        digest_window(kernel, &window[..messages.len()], double, digests);
    }
    digests
}

fn digest_window(kernel: Kernel, messages: &[&[u8]], double: bool, digests: &mut [Digest]) {
    let first = messages.first().map_or(0, |message| blocks(message.len()));
    if messages
        .iter()
        .all(|message| blocks(message.len()) == first)
    {
        digest_in_order(kernel, messages, double, digests);
        return;
    }
    let mut order: [usize; WINDOW] = std::array::from_fn(|index| index);
    let order = &mut order[..messages.len()];
    order.sort_unstable_by_key(|index| std::cmp::Reverse(messages[*index].len()));
    let mut sorted: [&[u8]; WINDOW] = [&[]; WINDOW];
    for (slot, index) in sorted.iter_mut().zip(&*order) {
        *slot = messages[*index];
    }
    let mut found = [Digest([0; 32]); WINDOW];
    let found = &mut found[..messages.len()];
    digest_in_order(kernel, &sorted[..messages.len()], double, found);
    for (digest, index) in found.iter().zip(order) {
        digests[*index] = *digest;
    }
}

fn digest_in_order(kernel: Kernel, messages: &[&[u8]], double: bool, digests: &mut [Digest]) {
    let mut done = 0;
    while done < messages.len() {
        done += kernel.digest_group(&messages[done..], double, &mut digests[done..]);
    }
}
