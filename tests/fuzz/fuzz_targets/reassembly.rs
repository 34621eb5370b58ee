//! Any bytes in any pieces through the reassembler: no panic, bounded memory, and
//! the pieces make no difference to what is found.
#![no_main]

use hasher_driver::Layout;
use hasher_driver::stream::Reassembler;
use hasher_driver::token::Reply;
use libfuzzer_sys::fuzz_target;

/// Far above the longest reply and one read.
const WAITING_MAX: usize = 4096;

fn replies(layout: Layout, bytes: &[u8], piece: usize) -> Vec<Reply> {
    let mut stream = Reassembler::new(layout);
    let mut found = Vec::new();
    for piece in bytes.chunks(piece) {
        stream.push(piece);
        while let Some(reply) = stream.next_reply() {
            found.push(reply);
        }
        assert!(stream.waiting() <= WAITING_MAX);
    }
    found
}

fuzz_target!(|input: (u8, Vec<u8>)| {
    let (piece, bytes) = input;
    for layout in [Layout::S1, Layout::S3] {
        let byte_wise = replies(layout, &bytes, 1);
        let in_pieces = replies(layout, &bytes, usize::from(piece) + 1);
        assert_eq!(byte_wise, in_pieces);
    }
});
