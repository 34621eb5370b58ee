//! Any bytes as a stream of socket frames: no panic, and every frame that decodes
//! says the same when it is written and read again.
#![no_main]

use bytes::BytesMut;
use hasher_wire::Codec;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut codec = Codec;
    let mut stream = BytesMut::from(bytes);
    while let Ok(Some(frame)) = codec.decode(&mut stream) {
        let mut written = BytesMut::new();
        if codec.encode(&frame, &mut written).is_ok() {
            let again = codec.decode(&mut written).expect("a written frame is readable");
            assert_eq!(again, Some(frame));
            assert!(written.is_empty());
        }
    }
});
