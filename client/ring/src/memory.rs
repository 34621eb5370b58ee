//! The mapped memory: the only place that holds its address.
//!
//! The other process may write any byte at any time. So nothing here hands out a
//! reference to plain bytes: words are atomics, and bytes are copied out or in. A copy
//! that races with the other side holds some bytes, and its reader checks them after.

#![expect(
    unsafe_code,
    reason = "mapped memory is a pointer; every block has its proof"
)]

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering, compiler_fence};

use rustix::fs::{
    MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, ftruncate, memfd_create,
};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};

use crate::layout::{COUNTERS_BYTES, RING_BYTES, Word};

/// Nobody can make the memory shorter (reading it would kill the reader), longer, or
/// forbid this.
const SEALS: SealFlags = SealFlags::SHRINK
    .union(SealFlags::GROW)
    .union(SealFlags::SEAL);

/// [`RING_BYTES`] of memory that another process sees as well.
#[derive(Debug)]
pub(crate) struct Memory {
    base: NonNull<u8>,
}

// SAFETY: the mapping belongs to this value alone within this process and to no thread.
unsafe impl Send for Memory {}

impl Memory {
    /// New memory full of zeros, and its descriptor.
    pub(crate) fn new() -> io::Result<(Self, OwnedFd)> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let descriptor = memfd_create("hasher-ring", flags)?;
        ftruncate(&descriptor, RING_BYTES as u64)?;
        fcntl_add_seals(&descriptor, SEALS)?;
        Ok((Self::map(&descriptor)?, descriptor))
    }

    /// The memory behind a descriptor that was received.
    ///
    /// # Errors
    /// `InvalidData` when it is not such memory.
    pub(crate) fn open(descriptor: impl AsFd) -> io::Result<Self> {
        let is_sealed = fcntl_get_seals(&descriptor).is_ok_and(|seals| seals.contains(SEALS));
        let size = rustix::fs::fstat(&descriptor)?.st_size;
        if !is_sealed || size != RING_BYTES as i64 {
            let text = format!("not {RING_BYTES} sealed bytes of memory");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Self::map(descriptor)
    }

    fn map(descriptor: impl AsFd) -> io::Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses an address where nothing else lies.
        let base = unsafe {
            mmap(
                ptr::null_mut(),
                RING_BYTES,
                access,
                MapFlags::SHARED,
                descriptor,
                0,
            )
        }?;
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self { base })
    }

    /// A word that both sides see.
    pub(crate) const fn word(&self, word: Word) -> &AtomicU32 {
        // SAFETY: every `Word` is a multiple of 4 well below RING_BYTES, the mapping begins
        // at a page and lives as long as `self`, its size is sealed, and this process
        // touches these four bytes through atomics only.
        unsafe { AtomicU32::from_ptr(self.base.as_ptr().add(word as usize).cast()) }
    }

    /// The addresses of some bytes of slots.
    ///
    /// # Panics
    /// When they are not all in the slots.
    pub(crate) fn range(&self, at: usize, bytes: usize) -> Range<*const u8> {
        assert_in_slots(at, bytes);
        let begin = self.base.as_ptr().cast_const().wrapping_add(at);
        begin..begin.wrapping_add(bytes)
    }

    /// Copies the bytes of slots from `at` on into `bytes`.
    ///
    /// # Panics
    /// When they are not all in the slots.
    pub(crate) fn copy_out(&self, at: usize, bytes: &mut [u8]) {
        assert_in_slots(at, bytes.len());
        // SAFETY: the source lies in the mapping as was just checked, and the mapping stands
        // while `self` does; `bytes` is memory of this process alone, so they do not
        // overlap. Any byte is a valid u8, whatever the other side writes meanwhile.
        unsafe {
            ptr::copy_nonoverlapping(self.base.as_ptr().add(at), bytes.as_mut_ptr(), bytes.len())
        }
        // Or the compiler might look into the memory again instead of into the copy.
        compiler_fence(Ordering::SeqCst);
    }

    /// Copies `bytes` into slots, from `at` on.
    ///
    /// # Panics
    /// When they do not all lie in the slots.
    pub(crate) fn copy_in(&mut self, at: usize, bytes: &[u8]) {
        assert_in_slots(at, bytes.len());
        // SAFETY: the target lies in the mapping as was just checked, and nothing in this
        // process refers to it but `self`, which is borrowed mutably; the words lie elsewhere.
        // `bytes` is memory of this process, so they do not overlap.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.base.as_ptr().add(at), bytes.len()) }
    }

    /// Gives the pages back to the system, whoever else has the memory mapped; it is full
    /// of zeros for all.
    pub(crate) fn remove(&mut self) {
        // SAFETY: the range is this mapping, which stays in place; this process refers to it
        // through `self` alone, and zeros are valid there.
        let removed =
            unsafe { madvise(self.base.as_ptr().cast(), RING_BYTES, Advice::LinuxRemove) };
        debug_assert!(
            removed.is_ok(),
            "shared memory that is not sealed against writing"
        );
    }
}

/// Panics unless so many bytes from `at` on lie behind the words and before the end.
fn assert_in_slots(at: usize, bytes: usize) {
    let is_in = (COUNTERS_BYTES..=RING_BYTES).contains(&at) && bytes <= RING_BYTES - at;
    assert!(is_in, "{bytes} bytes at {at} are out of the slots");
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: this is the mapping of `map`, and nothing refers to it after its owner.
        let unmapped = unsafe { munmap(self.base.as_ptr().cast(), RING_BYTES) };
        debug_assert!(unmapped.is_ok(), "a mapping of its own");
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn both_mappings_are_one_memory_whose_size_is_sealed() {
        let (mut ours, descriptor) = Memory::new().unwrap();
        let theirs = Memory::open(&descriptor).unwrap();
        ours.copy_in(RING_BYTES - 3, b"end");
        let mut bytes = [0; 3];
        theirs.copy_out(RING_BYTES - 3, &mut bytes);
        assert_eq!(&bytes, b"end");
        let file = File::from(descriptor);
        assert!(file.set_len(0).is_err() && file.set_len(1 << 20).is_err());
        assert!(fcntl_add_seals(&file, SealFlags::WRITE).is_err());
    }

    #[test]
    fn other_memory_is_refused() {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let other = memfd_create("other", flags).unwrap();
        ftruncate(&other, RING_BYTES as u64).unwrap();
        assert_eq!(
            Memory::open(&other).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
        ftruncate(&other, RING_BYTES as u64 - 1).unwrap();
        fcntl_add_seals(&other, SEALS).unwrap();
        assert_eq!(
            Memory::open(&other).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
        assert!(Memory::open(File::open("/dev/zero").unwrap()).is_err());
    }

    #[test]
    #[should_panic(expected = "out of the slots")]
    fn nothing_is_copied_from_behind_the_end() {
        let (memory, _) = Memory::new().unwrap();
        memory.copy_out(RING_BYTES - 1, &mut [0; 2]);
    }

    #[test]
    #[should_panic(expected = "out of the slots")]
    fn nothing_is_copied_over_the_counters() {
        let (mut memory, _) = Memory::new().unwrap();
        memory.copy_in(COUNTERS_BYTES - 1, &[0]);
    }

    #[test]
    #[should_panic(expected = "out of the slots")]
    fn nothing_is_copied_behind_the_end() {
        let (mut memory, _) = Memory::new().unwrap();
        memory.copy_in(RING_BYTES + 1, &[]);
    }

    #[test]
    fn what_is_removed_is_gone_for_the_other_side_too() {
        let (mut memory, descriptor) = Memory::new().unwrap();
        let file = File::from(descriptor);
        file.write_all_at(b"kept", 9000).unwrap();
        memory.remove();
        let mut bytes = [1; 4];
        file.read_exact_at(&mut bytes, 9000).unwrap();
        assert_eq!(bytes, [0; 4]);
        assert_eq!(
            rustix::fs::fstat(&file).unwrap().st_blocks,
            0,
            "no page is left"
        );
    }
}
