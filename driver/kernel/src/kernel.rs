//! A backend put to use: the table of its loops, and which loop a batch takes.

use std::sync::OnceLock;

use hasher_work::{Digest, Nonce, Target, Work};

use crate::ahead::Ahead;
use crate::backend::Backend;
use crate::scan::{self, Candidates, Plan, ScanOrder};
use crate::{batch, portable};

/// The loops of one backend that this CPU has.
#[derive(Debug, Clone, Copy)]
pub struct Kernel(Loops);

#[derive(Debug, Clone, Copy)]
enum Loops {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "x86_64")]
    ShaNi(ShaNi),
    /// With the loop for fewer messages than pay for all lanes.
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512, Option<ShaNi>),
}

#[cfg(target_arch = "x86_64")]
use crate::x86::{
    avx2, avx2::Avx2, avx512, avx512::Avx512, product::Vectors, sha_ni, sha_ni::ShaNi,
};

impl Backend {
    /// Whether this CPU has its instructions.
    pub fn is_available(self) -> bool {
        Kernel::new(self).is_some()
    }
}

impl Kernel {
    /// The loops of this backend, if this CPU has its instructions.
    pub fn new(backend: Backend) -> Option<Self> {
        match backend {
            Backend::Portable => Some(Self(Loops::Portable)),
            #[cfg(target_arch = "x86_64")]
            Backend::Avx2 => Avx2::detect().map(|l| Self(Loops::Avx2(l))),
            #[cfg(target_arch = "x86_64")]
            Backend::ShaNi => ShaNi::detect().map(|l| Self(Loops::ShaNi(l))),
            #[cfg(target_arch = "x86_64")]
            Backend::Avx512 => Avx512::detect().map(|l| Self(Loops::Avx512(l, ShaNi::detect()))),
            #[cfg(not(target_arch = "x86_64"))]
            Backend::Avx2 | Backend::ShaNi | Backend::Avx512 => None,
        }
    }

    /// The loops of [`Backend::chosen`].
    pub fn chosen() -> Self {
        static CHOSEN: OnceLock<Kernel> = OnceLock::new();
        *CHOSEN.get_or_init(|| Self::new(Backend::chosen()).unwrap_or(Self(Loops::Portable)))
    }

    /// Whose loops they are.
    pub fn backend(self) -> Backend {
        match self.0 {
            Loops::Portable => Backend::Portable,
            #[cfg(target_arch = "x86_64")]
            Loops::Avx2(_) => Backend::Avx2,
            #[cfg(target_arch = "x86_64")]
            Loops::ShaNi(_) => Backend::ShaNi,
            #[cfg(target_arch = "x86_64")]
            Loops::Avx512(..) => Backend::Avx512,
        }
    }

    /// [`crate::scan`] with these loops.
    pub fn scan(
        self,
        work: &Work,
        first: u32,
        count: u64,
        order: ScanOrder,
        target: &Target,
        found: impl FnMut(Nonce, Digest) -> bool,
    ) -> u64 {
        let plan = Plan::new(work, order, target);
        scan::scan(self, &plan, target, (first, count), found)
    }

    /// SHA-256 of each message, in order.
    pub fn digest_batch<M: AsRef<[u8]>>(self, messages: &[M]) -> Vec<Digest> {
        self.digests(messages, false)
    }

    /// Double SHA-256 of each message, in order.
    pub fn double_digest_batch<M: AsRef<[u8]>>(self, messages: &[M]) -> Vec<Digest> {
        self.digests(messages, true)
    }

    fn digests<M: AsRef<[u8]>>(self, messages: &[M], double: bool) -> Vec<Digest> {
        let mut digests = vec![Digest([0; 32]); messages.len()];
        let messages = messages.iter().map(AsRef::as_ref);
        self.digest_into(messages, double, &mut digests, Ahead::NOTHING);
        digests
    }

    /// SHA-256 of each message, double if `double`, in order into `digests`; asks for the
    /// memory `ahead` meanwhile, for as much of it as there is time for.
    ///
    /// # Panics
    /// Unless there are as many digests as messages.
    pub fn digest_into<'a>(
        self,
        messages: impl ExactSizeIterator<Item = &'a [u8]>,
        double: bool,
        digests: &mut [Digest],
        mut ahead: Ahead,
    ) {
        assert_eq!(messages.len(), digests.len(), "a digest for each message");
        batch::digests(self, messages, double, digests, &mut ahead);
    }

    /// The vectors that multiply integers, if it has any. SHA-NI has none of its own;
    /// most such CPUs have AVX2.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn vectors(self) -> Option<Vectors> {
        match self.0 {
            Loops::Portable => None,
            Loops::Avx2(l) => Some(Vectors::Avx2(l)),
            Loops::ShaNi(_) => Avx2::detect().map(Vectors::Avx2),
            Loops::Avx512(l, _) => Some(Vectors::Avx512(l)),
        }
    }

    /// Numbers of one group of [`Kernel::scan_groups`], at most 32.
    pub(crate) fn scan_lanes(self) -> u32 {
        match self.0 {
            Loops::Portable => portable::LANES,
            #[cfg(target_arch = "x86_64")]
            Loops::Avx2(_) => avx2::LANES,
            #[cfg(target_arch = "x86_64")]
            Loops::ShaNi(_) => sha_ni::LANES,
            #[cfg(target_arch = "x86_64")]
            Loops::Avx512(..) => avx512::LANES,
        }
    }

    /// Tries up to `groups` (at least 1) groups of numbers from `first` upwards
    /// (wrapping at 2³²) and stops after the first that has a candidate.
    pub(crate) fn scan_groups(self, plan: &Plan, first: u32, groups: u32) -> Candidates {
        match self.0 {
            Loops::Portable => portable::scan_groups(plan, first, groups),
            #[cfg(target_arch = "x86_64")]
            Loops::Avx2(l) => l.scan_groups(plan, first, groups),
            #[cfg(target_arch = "x86_64")]
            Loops::ShaNi(l) => l.scan_groups(plan, first, groups),
            #[cfg(target_arch = "x86_64")]
            Loops::Avx512(l, _) => l.scan_groups(plan, first, groups),
        }
    }

    /// Digests of some of `messages` (at least one), from the first on; how many.
    /// Best for messages of equally many blocks. Asks for some of the memory `ahead`.
    pub(crate) fn digest_group(
        self,
        messages: &[&[u8]],
        double: bool,
        digests: &mut [Digest],
        ahead: &mut Ahead,
    ) -> usize {
        match self.0 {
            Loops::Portable => portable::digest_group(messages, double, digests),
            #[cfg(target_arch = "x86_64")]
            Loops::Avx2(l) if messages.len() >= AVX2_WORTH => {
                fill::<{ avx2::LANES as usize }>(messages, digests, |messages, digests| {
                    l.digest_group(messages, double, digests, ahead)
                })
            }
            #[cfg(target_arch = "x86_64")]
            Loops::Avx2(_) => portable::digest_group(messages, double, digests),
            #[cfg(target_arch = "x86_64")]
            Loops::ShaNi(l) => l.digest_group(messages, double, digests, ahead),
            #[cfg(target_arch = "x86_64")]
            Loops::Avx512(l, sha_ni) => match sha_ni {
                Some(sha_ni) if messages.len() < AVX512_WORTH => {
                    sha_ni.digest_group(messages, double, digests, ahead)
                }
                None if messages.len() < AVX512_WORTH_WITHOUT_SHA_NI => {
                    portable::digest_group(messages, double, digests)
                }
                _ => fill::<{ avx512::LANES as usize }>(messages, digests, |messages, digests| {
                    l.digest_group(messages, double, digests, ahead)
                }),
            },
        }
    }
}

/// Messages from which on a group of AVX2 lanes, however empty, beats single ones.
#[cfg(target_arch = "x86_64")]
const AVX2_WORTH: usize = 3;
/// Messages from which on a group of AVX-512 lanes beats SHA-NI.
#[cfg(target_arch = "x86_64")]
const AVX512_WORTH: usize = 20;
/// The same beside single messages in plain code.
#[cfg(target_arch = "x86_64")]
const AVX512_WORTH_WITHOUT_SHA_NI: usize = 4;

/// Runs a loop for exactly `LANES` messages; empty ones make up for missing ones.
#[cfg(target_arch = "x86_64")]
fn fill<const LANES: usize>(
    messages: &[&[u8]],
    digests: &mut [Digest],
    mut run: impl FnMut(&[&[u8]; LANES], &mut [Digest; LANES]),
) -> usize {
    if let (Some(messages), Some(digests)) = (messages.first_chunk(), digests.first_chunk_mut()) {
        run(messages, digests);
        return LANES;
    }
    let mut filled: [&[u8]; LANES] = [&[]; LANES];
    filled[..messages.len()].copy_from_slice(messages);
    let mut all = [Digest([0; 32]); LANES];
    run(&filled, &mut all);
    digests.copy_from_slice(&all[..messages.len()]);
    messages.len()
}
