//! Any transfers into a simulated board, with any pauses between them: no panic, and
//! no reply longer than a host asks for.
#![no_main]

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use hasher_driver::DeviceId;
use hasher_driver::sim::{Hashing, Image, SimBoard, SimSettings};
use hasher_driver::transport::{MAX_IN_BYTES, MAX_OUT_BYTES, Transport, TransportEvent};
use libfuzzer_sys::fuzz_target;

/// Transfers of one run; more find nothing new and only cost time.
const TRANSFERS_MAX: usize = 32;

fuzz_target!(|input: (u8, bool, Vec<(u8, Vec<u8>)>)| {
    let (image, boot_loader, transfers) = input;
    let image = [Image::S1Of2013, Image::S1Of2014, Image::S3Version7][usize::from(image) % 3];
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O always starts");
    runtime.block_on(async {
        let mut settings = SimSettings::new(image);
        settings.zero_bits = 8;
        settings.boot_loader = boot_loader;
        settings.hashing = Hashing::Inline;
        let board = SimBoard::new(DeviceId("sim".to_owned()), settings).expect("legal settings");
        let Ok(mut transport) = board.attach() else { return };
        for (pause_ms, bytes) in transfers.into_iter().take(TRANSFERS_MAX) {
            if bytes.is_empty() || bytes.len() > MAX_OUT_BYTES {
                continue;
            }
            transport.start_send(Bytes::from(bytes));
            let listen = async {
                loop {
                    match poll_fn(|cx| transport.poll_event(cx)).await {
                        TransportEvent::Received(reply) => {
                            assert!((1..=MAX_IN_BYTES).contains(&reply.len()));
                        }
                        TransportEvent::Sent => {}
                        TransportEvent::Fault(_) => return,
                    }
                }
            };
            let pause = Duration::from_millis(u64::from(pause_ms));
            let _ = tokio::time::timeout(Duration::from_millis(250) + pause, listen).await;
        }
    });
});
