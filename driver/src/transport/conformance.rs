//! What every transport must do, as checks that run against any of them.
//!
//! Owns the rules of [`Transport`] in executable form. The simulator's transport is
//! checked in the unit tests, those over USB by the program `conformance` of this crate's
//! examples, on a real kernel. A device at the far end is needed that behaves like an
//! Antminer S3 whose application runs, and whose bus misbehaves when it is told to.

use std::fmt;
use std::future::{Future, poll_fn};
use std::time::Duration;

use bytes::Bytes;
use hasher_work::Header;
use tokio::time::{Instant, timeout};

use crate::Layout;
use crate::token::{MAX_WORKS_PER_TASK, Reply, RxStatus, TxTask, WorkEntry};
use crate::transport::{Transport, TransportError, TransportEvent};

/// Longest wait for anything that must happen. Busy machines get the benefit.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long nothing may happen where nothing must.
const QUIET_FOR: Duration = Duration::from_millis(300);

/// An OUT transfer that the device does not take must fail within this time; the
/// transports' own limit is 200 ms.
const TIMEOUT_WITHIN: Duration = Duration::from_millis(1500);

/// The contract of [`Transport::poll_close`], with some slack for a busy machine.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// Exchanges of the check that loses interest again and again.
const EXCHANGES: u32 = 20;

/// Transfers that may fail with other errors while a device is being pulled out.
const FAULTS_BEFORE_GONE: u32 = 16;

/// Events of a running board that may come before the one that is waited for.
const EVENTS_MAX: u32 = 10_000;

/// How the bus misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BusFault {
    /// The next IN transfer stalls.
    StallIn,
    /// The next OUT transfer stalls.
    StallOut,
    /// OUT transfers are not taken.
    NakOut,
    /// The cable is pulled.
    Unplug,
}

/// A device at the end of a transport.
pub trait Bench {
    /// What is checked.
    type Transport: Transport;

    /// Plugs in a fresh device and claims it. It stays healthy for one exchange of a
    /// status query; `fault` is what will befall it then.
    fn attach(
        &mut self,
        fault: Option<BusFault>,
    ) -> impl Future<Output = Result<Self::Transport, String>>;

    /// Lets the fault begin, unless the device does so by itself.
    fn strike(&mut self, fault: BusFault) -> impl Future<Output = Result<(), String>>;

    /// Ends a [`BusFault::NakOut`].
    fn heal(&mut self) -> impl Future<Output = Result<(), String>>;
}

/// What became of one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The sentence that must hold.
    pub rule: &'static str,
    /// Why it does not.
    pub result: Result<(), String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.result {
            Ok(()) => write!(f, "ok: {}", self.rule),
            Err(why) => write!(f, "NOT SO: {}: {why}", self.rule),
        }
    }
}

/// Checks all rules, each with a fresh device.
pub async fn check(bench: &mut impl Bench) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |rule, result| findings.push(Finding { rule, result });
    add(
        "a token is taken and its whole reply comes as one transfer",
        exchange_works(bench).await,
    );
    add(
        "the longest token is taken and the board's results arrive",
        longest_token_works(bench).await,
    );
    add(
        "losing interest between polls loses nothing",
        interest_may_be_lost(bench).await,
    );
    add(
        "a stall while reading is told and cleared",
        stall_is_cleared(bench, BusFault::StallIn).await,
    );
    add(
        "a stall while sending is told and cleared",
        stall_is_cleared(bench, BusFault::StallOut).await,
    );
    add(
        "a token that is not taken times out and the next one works",
        timeout_is_told(bench).await,
    );
    add(
        "an unplugged device is told once, and then nothing any more",
        unplug_is_told(bench).await,
    );
    add(
        "closing is quick and gives the device back",
        close_gives_back(bench).await,
    );
    findings
}

type Checked = Result<(), String>;

async fn exchange_works(bench: &mut impl Bench) -> Checked {
    let mut transport = bench.attach(None).await?;
    for _ in 0..3 {
        exchange(&mut transport).await?;
        quiet(&mut transport).await?;
    }
    Ok(())
}

async fn longest_token_works(bench: &mut impl Bench) -> Checked {
    let mut transport = bench.attach(None).await?;
    exchange(&mut transport).await?;
    transport.start_send(longest_token());
    let (mut is_sent, mut has_nonces) = (false, false);
    for _ in 0..EVENTS_MAX {
        match event(&mut transport).await? {
            TransportEvent::Sent => is_sent = true,
            TransportEvent::Received(bytes) => match Reply::decode(Layout::S3, &bytes) {
                Ok(Reply::Nonces(reply)) => has_nonces |= !reply.nonces.is_empty(),
                Ok(Reply::Status(_)) => {}
                Err(error) => {
                    return Err(format!("{} bytes that are no reply: {error}", bytes.len()));
                }
            },
            TransportEvent::Fault(error) => return Err(format!("fault: {error}")),
        }
        if is_sent && has_nonces {
            return Ok(());
        }
    }
    Err(format!("{EVENTS_MAX} events and no result"))
}

async fn interest_may_be_lost(bench: &mut impl Bench) -> Checked {
    let mut transport = bench.attach(None).await?;
    for _ in 0..EXCHANGES {
        transport.start_send(query());
        let (mut is_sent, mut is_answered) = (false, false);
        let until = Instant::now() + PATIENCE;
        while !(is_sent && is_answered) {
            if Instant::now() >= until {
                return Err(format!("sent: {is_sent}, answered: {is_answered}"));
            }
            let poll = poll_fn(|cx| transport.poll_event(cx));
            match timeout(Duration::from_millis(1), poll).await {
                Err(_) => {}
                Ok(TransportEvent::Sent) => is_sent = true,
                Ok(TransportEvent::Received(bytes)) => {
                    status(&bytes)?;
                    is_answered = true;
                }
                Ok(TransportEvent::Fault(error)) => return Err(format!("fault: {error}")),
            }
        }
    }
    Ok(())
}

async fn stall_is_cleared(bench: &mut impl Bench, fault: BusFault) -> Checked {
    let mut transport = bench.attach(Some(fault)).await?;
    exchange(&mut transport).await?;
    bench.strike(fault).await?;
    transport.start_send(query());
    loop {
        match event(&mut transport).await? {
            // A stall of the other direction strikes later.
            TransportEvent::Sent if fault == BusFault::StallIn => {}
            TransportEvent::Fault(TransportError::Stall) => break,
            other => return Err(format!("{other:?} instead of a stall")),
        }
    }
    // The reply that the stall held back may come first.
    transport.start_send(query());
    loop {
        match event(&mut transport).await? {
            TransportEvent::Sent => break,
            TransportEvent::Received(bytes) => status(&bytes)?,
            other @ TransportEvent::Fault(_) => return Err(format!("{other:?} after the stall")),
        }
    }
    answer(&mut transport).await
}

async fn timeout_is_told(bench: &mut impl Bench) -> Checked {
    let mut transport = bench.attach(Some(BusFault::NakOut)).await?;
    exchange(&mut transport).await?;
    bench.strike(BusFault::NakOut).await?;
    let begun = Instant::now();
    transport.start_send(query());
    match event(&mut transport).await? {
        TransportEvent::Fault(TransportError::Timeout) => {}
        other => return Err(format!("{other:?} instead of a timeout")),
    }
    if begun.elapsed() > TIMEOUT_WITHIN {
        return Err(format!("it took {:?}", begun.elapsed()));
    }
    bench.heal().await?;
    // A cancelled token may have left a part behind, which swallows the next one.
    transport.start_send(query());
    loop {
        match timeout(QUIET_FOR, poll_fn(|cx| transport.poll_event(cx))).await {
            Err(_) => break,
            Ok(TransportEvent::Fault(error)) => return Err(format!("fault: {error}")),
            Ok(_) => {}
        }
    }
    exchange(&mut transport).await
}

async fn unplug_is_told(bench: &mut impl Bench) -> Checked {
    let mut transport = bench.attach(Some(BusFault::Unplug)).await?;
    exchange(&mut transport).await?;
    bench.strike(BusFault::Unplug).await?;
    transport.start_send(query());
    let mut is_gone = false;
    for _ in 0..FAULTS_BEFORE_GONE {
        match event(&mut transport).await? {
            TransportEvent::Fault(TransportError::Disconnected) => {
                is_gone = true;
                break;
            }
            TransportEvent::Fault(_) => transport.start_send(query()),
            TransportEvent::Sent | TransportEvent::Received(_) => {}
        }
    }
    if !is_gone {
        return Err("it never says that the device is gone".to_owned());
    }
    transport.start_send(query());
    quiet(&mut transport).await
}

async fn close_gives_back(bench: &mut impl Bench) -> Checked {
    for _ in 0..3 {
        let mut transport = bench.attach(None).await?;
        exchange(&mut transport).await?;
        transport.start_send(query());
        let begun = Instant::now();
        poll_fn(|cx| transport.poll_close(cx)).await;
        if begun.elapsed() > CLOSE_WITHIN {
            return Err(format!("it took {:?}", begun.elapsed()));
        }
    }
    Ok(())
}

/// A status query, taken and answered.
async fn exchange(transport: &mut impl Transport) -> Checked {
    transport.start_send(query());
    match event(transport).await? {
        TransportEvent::Sent => answer(transport).await,
        // Nothing says which of the two is noticed first.
        TransportEvent::Received(bytes) => {
            status(&bytes)?;
            match event(transport).await? {
                TransportEvent::Sent => Ok(()),
                other => Err(format!("{other:?} instead of sent")),
            }
        }
        other @ TransportEvent::Fault(_) => Err(format!("{other:?} instead of sent")),
    }
}

async fn answer(transport: &mut impl Transport) -> Checked {
    match event(transport).await? {
        TransportEvent::Received(bytes) => status(&bytes),
        other => Err(format!("{other:?} instead of a reply")),
    }
}

fn status(bytes: &Bytes) -> Checked {
    match Reply::decode(Layout::S3, bytes) {
        Ok(Reply::Status(_)) => Ok(()),
        Ok(Reply::Nonces(_)) => Err("nonces instead of a status".to_owned()),
        Err(error) => Err(format!("{} bytes that are no reply: {error}", bytes.len())),
    }
}

async fn quiet(transport: &mut impl Transport) -> Checked {
    match timeout(QUIET_FOR, poll_fn(|cx| transport.poll_event(cx))).await {
        Err(_) => Ok(()),
        Ok(event) => Err(format!("{event:?} where nothing may happen")),
    }
}

async fn event(transport: &mut impl Transport) -> Result<TransportEvent, String> {
    timeout(PATIENCE, poll_fn(|cx| transport.poll_event(cx)))
        .await
        .map_err(|_| format!("nothing happened for {PATIENCE:?}"))
}

/// Resets nothing and is answered at once.
fn query() -> Bytes {
    RxStatus::DETECT.encode(Layout::S3)
}

/// Eight works.
fn longest_token() -> Bytes {
    let works = (0..MAX_WORKS_PER_TASK as u32).map(|id| {
        let mut header = [0; 80];
        header[64..68].copy_from_slice(&id.to_le_bytes());
        WorkEntry {
            id,
            work: Header(header).work(),
        }
    });
    let task = TxTask {
        new_block: false,
        diff: 0,
        works: works.collect(),
    };
    task.encode()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DeviceId;
    use crate::sim::{Hashing, Image, SimBoard, SimSettings, SimTransport};

    /// Simulated boards; their scripts strike after the first exchange, which is 12 bytes
    /// out, 52 bytes in, and some milliseconds.
    struct SimBench {
        board: Option<SimBoard>,
    }

    impl Bench for SimBench {
        type Transport = SimTransport;

        async fn attach(&mut self, fault: Option<BusFault>) -> Result<SimTransport, String> {
            let script = match fault {
                None => "",
                Some(BusFault::StallIn) => "stall=in@in:52",
                Some(BusFault::StallOut) => "stall=out@out:12",
                Some(BusFault::NakOut) => "freeze@500ms+1s",
                Some(BusFault::Unplug) => "unplug@out:20",
            };
            let settings = SimSettings {
                script: script.parse().unwrap(),
                boot_loader: false,
                zero_bits: 8,
                hashing: Hashing::Inline,
                ..SimSettings::new(Image::S3Version7)
            };
            let board = SimBoard::new(DeviceId("sim-test-0".into()), settings).unwrap();
            self.board
                .insert(board)
                .attach()
                .map_err(|error| error.to_string())
        }

        async fn strike(&mut self, fault: BusFault) -> Result<(), String> {
            if fault == BusFault::NakOut {
                tokio::time::sleep(Duration::from_millis(600)).await;
            }
            Ok(())
        }

        async fn heal(&mut self) -> Result<(), String> {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_simulators_transport_keeps_every_rule() {
        for finding in check(&mut SimBench { board: None }).await {
            assert_eq!(finding.result, Ok(()), "{finding}");
        }
    }

    /// Breaks a rule on purpose, to see that the checks notice.
    struct Deaf(SimBench);

    struct DeafTransport(SimTransport);

    impl Transport for DeafTransport {
        fn start_send(&mut self, token: Bytes) {
            self.0.start_send(token);
        }
        fn poll_event(
            &mut self,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<TransportEvent> {
            match self.0.poll_event(cx) {
                std::task::Poll::Ready(TransportEvent::Received(bytes)) => {
                    std::task::Poll::Ready(TransportEvent::Received(bytes.slice(1..)))
                }
                other => other,
            }
        }
    }

    impl Bench for Deaf {
        type Transport = DeafTransport;
        async fn attach(&mut self, fault: Option<BusFault>) -> Result<DeafTransport, String> {
            self.0.attach(fault).await.map(DeafTransport)
        }
        async fn strike(&mut self, fault: BusFault) -> Result<(), String> {
            self.0.strike(fault).await
        }
        async fn heal(&mut self) -> Result<(), String> {
            self.0.heal().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_transport_that_loses_a_byte_fails_the_checks() {
        let findings = check(&mut Deaf(SimBench { board: None })).await;
        assert!(findings.iter().all(|finding| finding.result.is_err()));
        assert!(findings[0].to_string().contains("no reply"));
    }
}
