//! SHA-256 side by side: one message (or nonce) in each 32-bit lane of a vector.
//!
//! It owns the algorithm over any vector width; what an instruction is called is
//! the business of [`Lanes`]' implementations. Several vectors, the *streams*, go
//! through a round together: one alone leaves the CPU waiting for its own result.
//!
//! Everything here is inlined into functions that enable the instructions, except
//! [`Lanes::expand_and_round`], the body of sixteen rounds that all others share:
//! unrolled everywhere, two streams would not fit the instruction cache.

use hasher_work::{Digest, INITIAL_STATE};

use crate::ahead::Ahead;
use crate::scan::{Candidates, Plan, ScanOrder};
use crate::sha256::{DIGEST_BITS, K, MARKER, blocks};

/// A vector of 32-bit lanes. A value of the implementing type proves that this CPU
/// has the instructions.
pub(crate) trait Lanes: Copy {
    /// The vector.
    type Vector: Copy;
    /// Lanes of one vector; divides 32.
    const COUNT: usize;

    /// The same word in all lanes.
    fn splat(self, word: u32) -> Self::Vector;
    /// `first`, `first + 1`, … (wrapping).
    fn count_from(self, first: u32) -> Self::Vector;
    /// Wrapping sum.
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a + b` in the lanes of `mask`, `a` in the others.
    fn add_where(self, mask: u32, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// Rotates right by `R`; `L` must be `32 − R`.
    fn rotate<const R: i32, const L: i32>(self, a: Self::Vector) -> Self::Vector;
    /// Shifts right by `N`.
    fn shift<const N: u32>(self, a: Self::Vector) -> Self::Vector;
    /// Exclusive or of three.
    fn xor3(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// Bit by bit: `e ? f : g`.
    fn choose(self, e: Self::Vector, f: Self::Vector, g: Self::Vector) -> Self::Vector;
    /// Bit by bit: what at least two of three say.
    fn majority(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// Reverses the bytes of each lane.
    fn swap_bytes(self, a: Self::Vector) -> Self::Vector;
    /// The lanes in which `a ≤ limit`, lane 0 in bit 0.
    fn at_most(self, a: Self::Vector, limit: Self::Vector) -> u32;
    /// Padded block number `block` of each of [`Lanes::COUNT`] messages, word by
    /// word. A message that ended before yields any words.
    fn load_block(self, messages: &[&[u8]], block: usize) -> [Self::Vector; 16];
    /// The digests that the state stands for, one for each lane.
    fn store_digests(self, state: [Self::Vector; 8], digests: &mut [Digest]);
    /// [`expand_and_round`], not inlined.
    fn expand_and_round<const S: usize>(
        self,
        state: &mut State<Self, S>,
        words: &mut Words<Self, S>,
        constants: &[u32; 16],
    );
}

/// One word of each stream.
pub(crate) type Streams<L, const S: usize> = [<L as Lanes>::Vector; S];
/// State words; before round `t`, word `i` of a to h lies at [`at`]`(i, t)`, so that
/// no round moves any.
pub(crate) type State<L, const S: usize> = [Streams<L, S>; 8];
/// The latest sixteen words of the message schedule; word `t` lies at `t mod 16`.
pub(crate) type Words<L, const S: usize> = [Streams<L, S>; 16];

/// Keeps the compiler from pulling the streams apart again: it would put one
/// after the other, which halves the speed of an AVX-512 unit.
#[inline(always)]
fn fence() {
    // SAFETY: no instruction; nothing is read, written or clobbered.
    unsafe { std::arch::asm!("", options(nomem, nostack, preserves_flags)) }
}

// No closures below: one would be a function of its own, without the instructions
// that the function around it is compiled for.

/// The same word in all lanes of all streams.
#[inline(always)]
fn all<L: Lanes, const S: usize>(l: L, word: u32) -> Streams<L, S> {
    [l.splat(word); S]
}

#[inline(always)]
fn add<L: Lanes, const S: usize>(l: L, mut a: Streams<L, S>, b: Streams<L, S>) -> Streams<L, S> {
    for (a, b) in a.iter_mut().zip(b) {
        *a = l.add(*a, b);
    }
    a
}

#[inline(always)]
fn add_word<L: Lanes, const S: usize>(l: L, a: Streams<L, S>, word: u32) -> Streams<L, S> {
    add(l, a, all(l, word))
}

/// σ0 of the message schedule.
#[inline(always)]
fn sigma0<L: Lanes, const S: usize>(l: L, mut x: Streams<L, S>) -> Streams<L, S> {
    for x in &mut x {
        let (by_7, by_18) = (l.rotate::<7, 25>(*x), l.rotate::<18, 14>(*x));
        *x = l.xor3(by_7, by_18, l.shift::<3>(*x));
    }
    x
}

/// σ1 of the message schedule.
#[inline(always)]
fn sigma1<L: Lanes, const S: usize>(l: L, mut x: Streams<L, S>) -> Streams<L, S> {
    for x in &mut x {
        let (by_17, by_19) = (l.rotate::<17, 15>(*x), l.rotate::<19, 13>(*x));
        *x = l.xor3(by_17, by_19, l.shift::<10>(*x));
    }
    x
}

/// Where word `i` of a to h lies before round `t`.
#[inline(always)]
const fn at(i: usize, t: usize) -> usize {
    (i + 64 - t) % 8
}

/// Round `t` (modulo 8 at least) of all streams; `word` is W plus K.
#[inline(always)]
fn round<L: Lanes, const S: usize>(l: L, state: &mut State<L, S>, t: usize, word: Streams<L, S>) {
    for s in 0..S {
        let (a, b, c, d) = (
            state[at(0, t)][s],
            state[at(1, t)][s],
            state[at(2, t)][s],
            state[at(3, t)][s],
        );
        let (e, f, g, h) = (
            state[at(4, t)][s],
            state[at(5, t)][s],
            state[at(6, t)][s],
            state[at(7, t)][s],
        );
        let (by_6, by_11) = (l.rotate::<6, 26>(e), l.rotate::<11, 21>(e));
        let big_sigma1 = l.xor3(by_6, by_11, l.rotate::<25, 7>(e));
        let t1 = l.add(l.add(l.add(h, word[s]), l.choose(e, f, g)), big_sigma1);
        let (by_2, by_13) = (l.rotate::<2, 30>(a), l.rotate::<13, 19>(a));
        let big_sigma0 = l.xor3(by_2, by_13, l.rotate::<22, 10>(a));
        state[at(3, t)][s] = l.add(d, t1);
        state[at(7, t)][s] = l.add(t1, l.add(big_sigma0, l.majority(a, b, c)));
    }
    fence();
}

/// Writes out its body once for each number, by default 0 to 15.
macro_rules! unrolled {
    ($t:ident => $body:expr) => {
        unrolled!($t in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 => $body)
    };
    ($t:ident in $($number:literal)* => $body:expr) => {
        $({ const $t: usize = $number; $body; })*
    };
}

/// Replaces word `t − 16` of the schedule by word `t`.
#[inline(always)]
fn expand<L: Lanes, const S: usize>(l: L, words: &mut Words<L, S>, t: usize) {
    let old = add(l, words[t % 16], words[(t + 9) % 16]);
    let old = add(l, old, sigma0(l, words[(t + 1) % 16]));
    words[t % 16] = add(l, old, sigma1(l, words[(t + 14) % 16]));
}

/// Sixteen rounds, the first with a number divisible by 16, each of which first
/// computes its own word of the schedule.
#[inline(always)]
pub(crate) fn expand_and_round<L: Lanes, const S: usize>(
    l: L,
    state: &mut State<L, S>,
    words: &mut Words<L, S>,
    constants: &[u32; 16],
) {
    let mut now = *state;
    unrolled!(T => {
        expand(l, words, T);
        round(l, &mut now, T, add_word(l, words[T], constants[T]));
    });
    *state = now;
}

/// Sixteen rounds of the words as they are.
#[inline(always)]
fn round_given<L: Lanes, const S: usize>(l: L, state: &mut State<L, S>, words: &Words<L, S>) {
    unrolled!(T => {
        round(l, state, T, add_word(l, words[T], K[T]));
    });
}

/// Round constants 16·`n` to 16·`n` + 15.
fn constants(n: usize) -> &'static [u32; 16] {
    &K.as_chunks().0[n]
}

/// Compresses one block into the state of the lanes that `active` names.
#[inline(always)]
fn compress<L: Lanes, const S: usize>(
    l: L,
    state: &mut State<L, S>,
    words: &mut Words<L, S>,
    active: [u32; S],
    ahead: &mut Ahead,
) {
    let mut now = *state;
    round_given(l, &mut now, words);
    ahead.ask();
    for n in 1..4 {
        l.expand_and_round(&mut now, words, constants(n));
        ahead.ask();
    }
    for (old, new) in state.iter_mut().zip(now) {
        for ((old, new), active) in old.iter_mut().zip(new).zip(active) {
            *old = l.add_where(active, *old, new);
        }
    }
}

/// Digests of S · [`Lanes::COUNT`] messages, single or double.
#[inline(always)]
pub(crate) fn digest_group<L: Lanes, const S: usize>(
    l: L,
    messages: &[&[u8]],
    double: bool,
    digests: &mut [Digest],
    ahead: &mut Ahead,
) {
    assert_eq!(
        (messages.len(), digests.len()),
        (S * L::COUNT, S * L::COUNT)
    );
    let mut most = 0;
    for message in messages {
        most = most.max(blocks(message.len()));
    }
    let mut state: State<L, S> = initial_state(l);
    let mut words = [[l.splat(0); S]; 16];
    for block in 0..most {
        let mut active = [0; S];
        for (s, messages) in messages.chunks_exact(L::COUNT).enumerate() {
            for (lane, message) in messages.iter().enumerate() {
                active[s] |= u32::from(block < blocks(message.len())) << lane;
            }
            for (words, word) in words.iter_mut().zip(l.load_block(messages, block)) {
                words[s] = word;
            }
        }
        compress(l, &mut state, &mut words, active, ahead);
    }
    if double {
        set_digest_block(l, &mut words, &state);
        state = initial_state(l);
        compress(l, &mut state, &mut words, [u32::MAX; S], ahead);
    }
    for (s, digests) in digests.chunks_exact_mut(L::COUNT).enumerate() {
        let mut stream = [l.splat(0); 8];
        for (word, words) in stream.iter_mut().zip(&state) {
            *word = words[s];
        }
        l.store_digests(stream, digests);
    }
}

#[inline(always)]
fn initial_state<L: Lanes, const S: usize>(l: L) -> State<L, S> {
    let mut state = [all(l, 0); 8];
    for (words, word) in state.iter_mut().zip(INITIAL_STATE) {
        *words = all(l, word);
    }
    state
}

/// The only block of a message of 32 bytes that `state` stands for.
#[inline(always)]
fn set_digest_block<L: Lanes, const S: usize>(l: L, words: &mut Words<L, S>, state: &State<L, S>) {
    words[..8].copy_from_slice(state);
    words[8] = all(l, MARKER);
    words[9..15].fill(all(l, 0));
    words[15] = all(l, DIGEST_BITS);
}

/// Tries up to `groups` groups of S · [`Lanes::COUNT`] numbers, until one has a
/// nonce whose double digest may meet the plan's target.
#[inline(always)]
pub(crate) fn scan_groups<L: Lanes, const S: usize>(
    l: L,
    plan: &Plan,
    first: u32,
    groups: u32,
) -> Candidates {
    let limit = l.splat(plan.top);
    let mut number = first;
    for done in 0..groups {
        let mut nonces: Streams<L, S> = all(l, 0);
        for (s, nonces) in nonces.iter_mut().enumerate() {
            let numbers = l.count_from(number.wrapping_add((s * L::COUNT) as u32));
            *nonces = match plan.order {
                ScanOrder::Chip => numbers,
                ScanOrder::Header => l.swap_bytes(numbers),
            };
        }
        let tops: Streams<L, S> = last_digest_words(l, plan, nonces);
        let mut lanes = 0;
        for (s, top) in tops.into_iter().enumerate() {
            lanes |= l.at_most(l.swap_bytes(top), limit) << (s * L::COUNT);
        }
        if lanes != 0 {
            return Candidates {
                groups: done + 1,
                lanes,
            };
        }
        number = number.wrapping_add((S * L::COUNT) as u32);
    }
    Candidates { groups, lanes: 0 }
}

/// Word 7 of the double digests of headers with these nonces (as message word W3).
#[inline(always)]
fn last_digest_words<L: Lanes, const S: usize>(
    l: L,
    plan: &Plan,
    nonces: Streams<L, S>,
) -> Streams<L, S> {
    // The header's second block. Rounds 0 to 2 know no nonce; round 3 adds it to
    // what is known.
    let mut state: State<L, S> = [all(l, 0); 8];
    for (i, word) in plan.after_round_3.into_iter().enumerate() {
        state[at(i, 4)] = all(l, word);
    }
    for i in [0, 4] {
        state[at(i, 4)] = add(l, state[at(i, 4)], nonces);
    }
    unrolled!(T in 4 5 6 7 8 9 10 11 12 13 14 15 => {
        round(l, &mut state, T, all(l, plan.words_and_constants[T]));
    });
    // Words 16 to 31: of the sixteen before, only W3 is unknown and most are zero.
    let mut words: Words<L, S> = [all(l, 0); 16];
    unrolled!(T in 0 1 => {
        words[T] = all(l, plan.schedule[T]);
        round(l, &mut state, T, all(l, plan.words_and_constants[16..][T]));
    });
    unrolled!(T in 2 3 4 5 6 7 8 9 10 11 12 13 14 15 => {
        let known = plan.schedule[T];
        words[T] = match T {
            2 => add_word(l, sigma0(l, nonces), known),
            3 => add_word(l, nonces, known),
            4 | 6 => add_word(l, sigma1(l, words[T - 2]), known),
            5 => sigma1(l, words[T - 2]),
            7..14 => add(l, sigma1(l, words[T - 2]), words[(T + 9) % 16]),
            _ => add_word(l, add(l, sigma1(l, words[T - 2]), words[(T + 9) % 16]), known),
        };
        round(l, &mut state, T, add_word(l, words[T], K[16 + T]));
    });
    l.expand_and_round(&mut state, &mut words, constants(2));
    l.expand_and_round(&mut state, &mut words, constants(3));

    // The second hash, over 32 bytes.
    for (word, midstate) in state.iter_mut().zip(plan.midstate) {
        *word = add_word(l, *word, midstate);
    }
    set_digest_block(l, &mut words, &state);
    let mut state: State<L, S> = initial_state(l);
    unrolled!(T => {
        let word = match T {
            0..8 => add_word(l, words[T], K[T]),
            _ => all(l, DIGEST_BLOCK_CONSTANTS[T]),
        };
        round(l, &mut state, T, word);
    });
    l.expand_and_round(&mut state, &mut words, constants(1));
    l.expand_and_round(&mut state, &mut words, constants(2));
    // h after round 63 is e after round 60: the rest is not computed, nor (because
    // nothing reads it) what a would be from round 57 on.
    unrolled!(T in 0 1 2 3 4 5 6 7 8 9 10 11 12 => {
        expand(l, &mut words, T);
        round(l, &mut state, T, add_word(l, words[T], K[48 + T]));
    });
    add_word(l, state[at(4, 61)], INITIAL_STATE[7])
}

/// K plus the constant words 8 to 15 of the block of a 32-byte message.
const DIGEST_BLOCK_CONSTANTS: [u32; 16] = {
    let mut sums = [0; 16];
    let mut t = 8;
    while t < 16 {
        sums[t] = K[t];
        t += 1;
    }
    sums[8] = K[8].wrapping_add(MARKER);
    sums[15] = K[15].wrapping_add(DIGEST_BITS);
    sums
};
