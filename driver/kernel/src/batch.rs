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

/// Messages for which a small window does: preparing a large one takes as long as
/// digesting a short message.
const FEW: usize = 8;

/// The digest (or double digest) of each message, in order.
pub(crate) fn digests<M: AsRef<[u8]>>(kernel: Kernel, messages: &[M], double: bool) -> Vec<Digest> {
    if messages.len() <= FEW {
        digest_windows::<FEW, M>(kernel, messages, double)
    } else {
        digest_windows::<WINDOW, M>(kernel, messages, double)
    }
}

fn digest_windows<const W: usize, M: AsRef<[u8]>>(
    kernel: Kernel,
    messages: &[M],
    double: bool,
) -> Vec<Digest> {
    let mut digests = vec![Digest([0; 32]); messages.len()];
    for (messages, digests) in messages.chunks(W).zip(digests.chunks_mut(W)) {
        let mut window: [&[u8]; W] = [&[]; W];
        for (slot, message) in window.iter_mut().zip(messages) {
            *slot = message.as_ref();
        }
        digest_window::<W>(kernel, &window[..messages.len()], double, digests);
    }
    digests
}

fn digest_window<const W: usize>(
    kernel: Kernel,
    messages: &[&[u8]],
    double: bool,
    digests: &mut [Digest],
) {
    let first = messages.first().map_or(0, |message| blocks(message.len()));
    if messages
        .iter()
        .all(|message| blocks(message.len()) == first)
    {
        digest_in_order(kernel, messages, double, digests);
        return;
    }
    let mut order: [usize; W] = std::array::from_fn(|index| index);
    let order = &mut order[..messages.len()];
    order.sort_unstable_by_key(|index| std::cmp::Reverse(messages[*index].len()));
    let mut sorted: [&[u8]; W] = [&[]; W];
    for (slot, index) in sorted.iter_mut().zip(&*order) {
        *slot = messages[*index];
    }
    let mut found = [Digest([0; 32]); W];
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
