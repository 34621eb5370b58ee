//! Plain loops, compiled once more for the vectors of the CPU at hand.
//!
//! A program for any x86-64 CPU may use vectors of 128 bits only. [`Kernel::run`] gives a
//! loop that needs no instruction of its own, only wider ones, to the compiler again with
//! AVX2 and with AVX-512. Results are the same on each: the compiler neither reorders nor
//! fuses operations on floats.

use crate::kernel::Kernel;

/// A loop with its operands.
///
/// `run` and what it calls in its inner loop must be `#[inline(always)]`: only what is
/// compiled as a part of [`Kernel::run`] gets wide vectors.
pub trait Loop {
    /// What the loop yields.
    type Output;

    /// Runs it.
    fn run(self) -> Self::Output;
}

impl Kernel {
    /// Runs `work` with the widest vectors of this backend.
    pub fn run<L: Loop>(self, work: L) -> L::Output {
        #[cfg(target_arch = "x86_64")]
        if let Some(vectors) = self.vectors() {
            return vectors.run(work);
        }
        work.run()
    }
}

/// Runs `work` with the vectors of [`Backend::chosen`](crate::Backend::chosen).
pub fn run<L: Loop>(work: L) -> L::Output {
    Kernel::chosen().run(work)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Backend;

    /// Σ aᵢ·bᵢ in sixteen partial sums, and aᵢ becomes √|aᵢ|.
    struct Mixed<'a>(&'a mut [f32], &'a [f32]);

    impl Loop for Mixed<'_> {
        type Output = f32;

        #[inline(always)]
        fn run(self) -> f32 {
            let mut sums = [0.0f32; 16];
            for (a, b) in self
                .0
                .as_chunks_mut::<16>()
                .0
                .iter_mut()
                .zip(self.1.as_chunks::<16>().0)
            {
                for i in 0..16 {
                    sums[i] += a[i] * b[i];
                    a[i] = a[i].abs().sqrt();
                }
            }
            sums.iter().sum()
        }
    }

    #[test]
    fn every_backend_gives_the_same_bits() {
        let a: Vec<f32> = (0..400).map(|i| (i as f32 * 0.37).sin() * 3.0).collect();
        let b: Vec<f32> = (0..400).map(|i| (i as f32 * 0.11).cos() / 7.0).collect();
        let mut roots = a.clone();
        let sum = Mixed(&mut roots, &b).run();
        for kernel in Backend::ALL.into_iter().filter_map(Kernel::new) {
            let mut own = a.clone();
            let own_sum = kernel.run(Mixed(&mut own, &b));
            assert_eq!(own_sum.to_bits(), sum.to_bits(), "{}", kernel.backend());
            assert_eq!(own, roots, "{}", kernel.backend());
        }
    }
}
