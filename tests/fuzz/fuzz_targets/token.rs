//! Any bytes as a token or reply of either layout: no panic, and whatever decodes
//! must say the same when it is written and read again.
#![no_main]

use hasher_driver::Layout;
use hasher_driver::token::{Reply, Request};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for layout in [Layout::S1, Layout::S3] {
        if let Ok(request) = Request::decode(layout, bytes) {
            let again = Request::decode(layout, &request.encode(layout));
            assert_eq!(again.as_ref(), Ok(&request));
        }
        if let Ok(reply) = Reply::decode(layout, bytes) {
            let again = Reply::decode(layout, &reply.encode(layout));
            assert_eq!(again.as_ref(), Ok(&reply));
        }
    }
});
