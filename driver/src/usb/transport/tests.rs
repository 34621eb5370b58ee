//! The rules of the pipe against endpoints that do as they are told, in paused time.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::Waker;

use super::*;

/// One endpoint's kernel side, as the test sees it.
#[derive(Debug, Default)]
struct Bench {
    submitted: Vec<Bytes>,
    pending: usize,
    ends: VecDeque<Ended>,
    /// Cancelled transfers do not come back.
    keeps_cancelled: bool,
    /// Clearing a halt fails.
    cannot_clear: bool,
    clearing: bool,
    cleared: u32,
    waker: Option<Waker>,
}

#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Bench>>);

impl Fake {
    fn with<T>(&self, change: impl FnOnce(&mut Bench) -> T) -> T {
        let mut bench = self.0.lock().unwrap();
        let result = change(&mut bench);
        if let Some(waker) = bench.waker.take() {
            waker.wake();
        }
        result
    }

    /// The oldest transfer ends like this.
    fn end(&self, bytes: &'static [u8], error: Option<TransferError>) {
        let bytes = Bytes::from_static(bytes);
        self.with(|bench| bench.ends.push_back(Ended { bytes, error }));
    }

    fn submitted(&self) -> usize {
        self.with(|bench| bench.submitted.len())
    }

    fn pending(&self) -> usize {
        self.with(|bench| bench.pending)
    }
}

impl Pipe for Fake {
    fn pending(&self) -> usize {
        self.0.lock().unwrap().pending
    }
    fn is_open(&self) -> bool {
        !self.0.lock().unwrap().clearing
    }
    fn submit(&mut self, bytes: &Bytes) {
        let mut bench = self.0.lock().unwrap();
        assert!(!bench.clearing, "submitted while it is being cleared");
        bench.submitted.push(bytes.clone());
        bench.pending += 1;
    }
    fn cancel(&mut self) {
        self.with(|bench| {
            while !bench.keeps_cancelled && bench.ends.len() < bench.pending {
                bench.ends.push_back(Ended {
                    bytes: Bytes::new(),
                    error: Some(TransferError::Cancelled),
                });
            }
        });
    }
    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let mut bench = self.0.lock().unwrap();
        if bench.pending == 0 {
            return Poll::Pending;
        }
        bench.waker = Some(cx.waker().clone());
        let ended = ready!(bench.ends.pop_front().map_or(Poll::Pending, Poll::Ready));
        bench.pending -= 1;
        Poll::Ready(ended)
    }
    fn begin_clearing(&mut self) {
        let mut bench = self.0.lock().unwrap();
        assert_eq!(bench.pending, 0, "cleared with transfers pending");
        bench.clearing = true;
    }
    fn poll_cleared(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        let mut bench = self.0.lock().unwrap();
        bench.clearing = false;
        bench.cleared += 1;
        if bench.cannot_clear {
            return Poll::Ready(Err(TransportError::Io(std::io::Error::other("no"))));
        }
        Poll::Ready(Ok(()))
    }
}

struct Rig {
    input: Fake,
    output: Fake,
    transport: UsbTransport<Fake, Fake>,
    released: Arc<Mutex<bool>>,
}

impl Rig {
    fn new() -> Self {
        let (input, output) = (Fake::default(), Fake::default());
        let released = Arc::new(Mutex::new(false));
        let note = Arc::clone(&released);
        let release: Release = Box::pin(async move { *note.lock().unwrap() = true });
        Self {
            transport: UsbTransport::new(input.clone(), output.clone(), release),
            input,
            output,
            released,
        }
    }

    fn send(&mut self) {
        self.transport.start_send(Bytes::from_static(b"token"));
    }

    async fn event(&mut self) -> TransportEvent {
        poll_fn(|cx| self.transport.poll_event(cx)).await
    }

    async fn nothing_for(&mut self, time: Duration) {
        let event = tokio::time::timeout(time, self.event()).await;
        assert!(event.is_err(), "{event:?}");
    }

    async fn fault(&mut self) -> TransportError {
        match self.event().await {
            TransportEvent::Fault(error) => error,
            other => panic!("{other:?} instead of a fault"),
        }
    }

    /// The next exchange works.
    async fn works(&mut self) {
        self.send();
        self.output.end(b"", None);
        assert!(matches!(self.event().await, TransportEvent::Sent));
        self.nothing_for(IN_PAUSE * 2).await;
        self.input.end(b"reply", None);
        let event = self.event().await;
        assert!(matches!(&event, TransportEvent::Received(bytes) if &bytes[..] == b"reply"));
    }
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn in_transfers_are_always_outstanding() {
    let mut rig = Rig::new();
    rig.nothing_for(LONG).await;
    assert_eq!(rig.input.pending(), IN_PENDING);
    for _ in 0..3 {
        rig.works().await;
    }
    rig.nothing_for(LONG).await;
    assert_eq!(rig.input.pending(), IN_PENDING);
    assert_eq!(rig.output.submitted(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_device_that_takes_nothing_times_out_once_and_is_usable_again() {
    let mut rig = Rig::new();
    rig.send();
    let begun = tokio::time::Instant::now();
    assert!(matches!(rig.fault().await, TransportError::Timeout));
    assert_eq!(begun.elapsed(), OUT_WITHIN);
    rig.nothing_for(LONG).await;
    rig.works().await;
}

#[tokio::test(start_paused = true)]
async fn a_stall_is_cleared_with_nothing_pending_before_it_is_told() {
    for stalled in 0..2 {
        let mut rig = Rig::new();
        rig.send();
        rig.nothing_for(Duration::from_millis(1)).await;
        let side = [&rig.input, &rig.output][stalled].clone();
        side.end(b"", Some(TransferError::Stall));
        assert!(matches!(rig.fault().await, TransportError::Stall));
        assert_eq!(side.with(|bench| bench.cleared), 1);
        assert_eq!((rig.input.pending(), rig.output.pending()), (0, 0));
        rig.works().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_fault_while_reading_ends_the_transfer_being_sent() {
    let mut rig = Rig::new();
    rig.send();
    rig.nothing_for(Duration::from_millis(1)).await;
    rig.input.end(b"", Some(TransferError::Fault));
    assert!(matches!(rig.fault().await, TransportError::Io(_)));
    assert_eq!(rig.output.pending(), 0);
    rig.works().await;
}

#[tokio::test(start_paused = true)]
async fn a_token_given_during_a_fault_falls_with_it() {
    let mut rig = Rig::new();
    rig.nothing_for(Duration::from_millis(1)).await;
    rig.input.with(|bench| bench.keeps_cancelled = true);
    rig.input.end(b"", Some(TransferError::Fault));
    rig.nothing_for(Duration::from_millis(1)).await;
    rig.send();
    assert_eq!(rig.output.submitted(), 0);
    rig.input.end(b"", Some(TransferError::Cancelled));
    assert!(matches!(rig.fault().await, TransportError::Io(_)));
    rig.input.with(|bench| bench.keeps_cancelled = false);
    rig.works().await;
}

#[tokio::test(start_paused = true)]
async fn bytes_that_came_before_an_error_are_not_lost() {
    let mut rig = Rig::new();
    rig.nothing_for(Duration::from_millis(1)).await;
    rig.input.end(b"half", Some(TransferError::Fault));
    let event = rig.event().await;
    assert!(matches!(&event, TransportEvent::Received(bytes) if &bytes[..] == b"half"));
    assert!(matches!(rig.fault().await, TransportError::Io(_)));
}

#[tokio::test(start_paused = true)]
async fn an_unplugged_device_is_told_once() {
    for sending in [false, true] {
        let mut rig = Rig::new();
        if sending {
            rig.send();
        }
        rig.nothing_for(Duration::from_millis(1)).await;
        for side in [&rig.input, &rig.output] {
            side.end(b"", Some(TransferError::Disconnected));
        }
        rig.input.end(b"", Some(TransferError::Disconnected));
        assert!(matches!(rig.fault().await, TransportError::Disconnected));
        rig.send();
        rig.nothing_for(LONG).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_bytes_of_an_unplugged_device_come_before_the_fault() {
    let mut rig = Rig::new();
    rig.nothing_for(Duration::from_millis(1)).await;
    rig.input.end(b"last", Some(TransferError::Disconnected));
    assert!(matches!(rig.event().await, TransportEvent::Received(_)));
    assert!(matches!(rig.fault().await, TransportError::Disconnected));
}

#[tokio::test(start_paused = true)]
async fn a_kernel_that_keeps_a_transfer_counts_as_an_unplugged_device() {
    let mut rig = Rig::new();
    rig.output.with(|bench| bench.keeps_cancelled = true);
    rig.send();
    let begun = tokio::time::Instant::now();
    assert!(matches!(rig.fault().await, TransportError::Disconnected));
    assert_eq!(begun.elapsed(), OUT_WITHIN + REST_WITHIN);
    // Closing is bounded too.
    poll_fn(|cx| rig.transport.poll_close(cx)).await;
    assert!(begun.elapsed() <= OUT_WITHIN + REST_WITHIN + CLOSE_WITHIN);
}

#[tokio::test(start_paused = true)]
async fn a_halt_that_cannot_be_cleared_counts_as_an_unplugged_device() {
    let mut rig = Rig::new();
    rig.nothing_for(Duration::from_millis(1)).await;
    rig.input.with(|bench| bench.cannot_clear = true);
    rig.input.end(b"", Some(TransferError::Stall));
    assert!(matches!(rig.fault().await, TransportError::Disconnected));
}

#[tokio::test(start_paused = true)]
async fn a_device_that_fails_every_transfer_makes_no_busy_loop() {
    let mut rig = Rig::new();
    let begun = tokio::time::Instant::now();
    for _ in 0..10 {
        rig.nothing_for(IN_PAUSE).await;
        rig.input.end(b"", Some(TransferError::Fault));
        assert!(matches!(rig.fault().await, TransportError::Io(_)));
    }
    assert!(begun.elapsed() >= IN_PAUSE * 10);
    // Nor does one that sends nothing but empty packets.
    let before = rig.input.submitted();
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < IN_PAUSE * 10 {
        while rig.input.with(|bench| bench.ends.len() < bench.pending) {
            rig.input.end(b"", None);
        }
        rig.nothing_for(Duration::from_millis(1)).await;
    }
    assert!(rig.input.submitted() - before <= 11 * IN_PENDING);
}

#[tokio::test(start_paused = true)]
async fn closing_takes_everything_back_and_then_releases() {
    let mut rig = Rig::new();
    rig.send();
    rig.nothing_for(Duration::from_millis(1)).await;
    poll_fn(|cx| rig.transport.poll_close(cx)).await;
    assert!(*rig.released.lock().unwrap());
    assert_eq!((rig.input.pending(), rig.output.pending()), (0, 0));
    assert!(rig.transport.pipes.is_none());
    rig.nothing_for(LONG).await;
}
