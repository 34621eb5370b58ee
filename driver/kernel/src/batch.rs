//! Digests of many messages: which of them go through a kernel together.
//!
//! Lanes take equally long, so messages of equally many blocks should meet in a
//! group. Messages are taken window by window, which bounds the space for that, and
//! within a window in the order of their lengths.

use hasher_work::Digest;

use crate::ahead::Ahead;
use crate::kernel::Kernel;
use crate::sha256::blocks;

/// Messages looked at together: several groups of the widest kernel.
const WINDOW: usize = 256;

/// Messages for which a small window does: preparing a large one takes as long as
/// digesting a short message or two.
const FEW: usize = 8;
/// One group of the widest kernel.
const GROUP: usize = 32;

/// The digest (or double digest) of each message, in order.
pub(crate) fn digests<'a>(
    kernel: Kernel,
    messages: impl Iterator<Item = &'a [u8]>,
    double: bool,
    digests: &mut [Digest],
    ahead: &mut Ahead,
) {
    if digests.len() <= FEW {
        digest_windows::<FEW>(kernel, messages, double, digests, ahead);
    } else if digests.len() <= GROUP {
        digest_windows::<GROUP>(kernel, messages, double, digests, ahead);
    } else {
        digest_windows::<WINDOW>(kernel, messages, double, digests, ahead);
    }
}

fn digest_windows<'a, const W: usize>(
    kernel: Kernel,
    mut messages: impl Iterator<Item = &'a [u8]>,
    double: bool,
    digests: &mut [Digest],
    ahead: &mut Ahead,
) {
    for digests in digests.chunks_mut(W) {
        let mut window: [&[u8]; W] = [&[]; W];
        let window = &mut window[..digests.len()];
        for (slot, message) in window.iter_mut().zip(&mut messages) {
            *slot = message;
        }
        digest_window(kernel, window, double, digests, ahead);
    }
}

fn digest_window(
    kernel: Kernel,
    messages: &[&[u8]],
    double: bool,
    digests: &mut [Digest],
    ahead: &mut Ahead,
) {
    let first = messages.first().map_or(0, |message| blocks(message.len()));
    if messages
        .iter()
        .all(|message| blocks(message.len()) == first)
    {
        digest_in_order(kernel, messages, double, digests, ahead);
        return;
    }
    let mut order: Vec<usize> = (0..messages.len()).collect();
    order.sort_unstable_by_key(|index| std::cmp::Reverse(messages[*index].len()));
    let sorted: Vec<&[u8]> = order.iter().map(|index| messages[*index]).collect();
    let mut found = vec![Digest([0; 32]); messages.len()];
    digest_in_order(kernel, &sorted, double, &mut found, ahead);
    for (digest, index) in found.iter().zip(order) {
        digests[index] = *digest;
    }
}

fn digest_in_order(
    kernel: Kernel,
    messages: &[&[u8]],
    double: bool,
    digests: &mut [Digest],
    ahead: &mut Ahead,
) {
    let mut done = 0;
    while done < messages.len() {
        let (messages, digests) = (&messages[done..], &mut digests[done..]);
        done += kernel.digest_group(messages, double, digests, ahead);
    }
}
