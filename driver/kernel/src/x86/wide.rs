//! Plain loops, compiled for AVX2 and AVX-512.

use super::product::Vectors;
use crate::wide::Loop;

impl Vectors {
    /// Runs `work` with these vectors.
    pub fn run<L: Loop>(self, work: L) -> L::Output {
        match self {
            // SAFETY: a value of this type exists only where the CPU has AVX2.
            Self::Avx2(_) => unsafe { run_avx2(work) },
            // SAFETY: a value of this type exists only where the CPU has these features.
            Self::Avx512(_) => unsafe { run_avx512(work) },
        }
    }
}

#[target_feature(enable = "avx2")]
fn run_avx2<L: Loop>(work: L) -> L::Output {
    work.run()
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn run_avx512<L: Loop>(work: L) -> L::Output {
    work.run()
}
