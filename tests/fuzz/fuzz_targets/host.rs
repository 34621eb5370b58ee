//! Any bytes, faults and pauses into the host logic, while works are submitted: no
//! panic, no token beyond the bound, and no work that ends twice.
#![no_main]

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use hasher_driver::host::{BoardSettings, Host};
use hasher_driver::transport::{MAX_OUT_BYTES, TransportError, TransportEvent};
use hasher_driver::{DeviceEvent, DeviceId, DeviceKind, DeviceWork, WorkTag};
use hasher_work::{Header, NonceRange, Target};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
enum Step {
    Receive(Vec<u8>),
    Stall,
    Timeout,
    Wait(u16),
    Submit,
    Cancel(u8),
    Pause(bool),
    Shutdown,
}

/// Steps of one run; more find nothing new and only cost time.
const STEPS_MAX: usize = 200;

fuzz_target!(|steps: Vec<Step>| {
    let id = DeviceId("fuzz".to_owned());
    let settings = BoardSettings::new(id, DeviceKind::Simulated).with_filter_zero_bits(8);
    let mut now = Duration::ZERO;
    let mut host = Host::new(settings, now);
    let mut live = HashSet::new();
    let mut next_tag = 0;
    for step in steps.into_iter().take(STEPS_MAX) {
        match step {
            Step::Receive(bytes) => {
                host.on_transport(TransportEvent::Received(Bytes::from(bytes)), now);
            }
            Step::Stall => host.on_transport(TransportEvent::Fault(TransportError::Stall), now),
            Step::Timeout => host.on_transport(TransportEvent::Fault(TransportError::Timeout), now),
            Step::Wait(ms) => {
                now += Duration::from_millis(u64::from(ms));
                host.on_time(now);
            }
            Step::Submit => {
                let work = DeviceWork {
                    tag: WorkTag(next_tag),
                    work: Header([next_tag as u8; 80]).work(),
                    range: NonceRange::WHOLE,
                    target: Target::from_zero_bits(8).expect("8 is legal"),
                    hits_wanted: 1,
                };
                let room = host.capacity() > 0 && host.can_run(&work.work);
                if host.submit(work, now).is_ok() {
                    assert!(room);
                    live.insert(work.tag);
                }
                next_tag += 1;
            }
            Step::Cancel(tag) => {
                let tag = WorkTag(u64::from(tag));
                host.cancel(tag);
                live.remove(&tag);
            }
            Step::Pause(paused) => host.set_paused(paused, now),
            Step::Shutdown => host.begin_shutdown(now),
        }
        // A transport takes every token at once here.
        for _ in 0..64 {
            let Some(token) = host.next_token(now) else { break };
            assert!((1..=MAX_OUT_BYTES).contains(&token.len()));
            host.on_transport(TransportEvent::Sent, now);
        }
        while let Some(event) = host.next_event() {
            match event {
                DeviceEvent::Done { tag, .. } => assert!(live.remove(&tag), "{tag:?} ended twice"),
                DeviceEvent::Hit { tag, .. } => assert!(live.contains(&tag)),
                _ => {}
            }
        }
    }
});
