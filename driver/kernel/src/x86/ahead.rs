//! How a line of memory is asked for.

use std::arch::asm;

/// Asks for a line in order to read it.
#[inline(always)]
pub(crate) fn ask_to_read(line: usize) {
    // SAFETY: the instruction neither reads nor writes what a program sees, and no address
    // makes it fault.
    unsafe { asm!("prefetcht0 [{}]", in(reg) line, options(nostack, preserves_flags, readonly)) }
}

/// Asks for a line in order to write it: the other processors give it up. A CPU without the
/// instruction does nothing at this one.
#[inline(always)]
pub(crate) fn ask_to_write(line: usize) {
    // SAFETY: as above.
    unsafe { asm!("prefetchw [{}]", in(reg) line, options(nostack, preserves_flags, readonly)) }
}
