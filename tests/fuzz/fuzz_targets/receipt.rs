//! Any bytes as a receipt: no panic, bounded memory, and what is read is written
//! with the same bytes. The anchors of a readable receipt are checked too.
#![no_main]

use hasher_model::{Receipt, check_anchors};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(receipt) = Receipt::from_bytes(bytes) {
        assert_eq!(receipt.to_bytes(), bytes);
        let _ = check_anchors(&receipt, 0);
    }
});
