//! Kernels for x86-64 CPUs.

pub(crate) mod ahead;
pub(crate) mod avx2;
pub(crate) mod avx512;
pub(crate) mod gemm;
pub(crate) mod product;
pub(crate) mod sha_ni;
mod wide;
