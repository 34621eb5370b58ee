//! A simulated S3 in real time behind a daemon whose only thread is held up each second.
//!
//! Owns the board, so that it can tell what the chips did: real boards tell no one when
//! they had no work. Four clients keep the daemon busy over its socket; a fifth asks for
//! an urgent search now and then.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use hasher_client::{Client, Priority, SearchOptions};
use hasher_daemon::config::ConfigSource;
use hasher_daemon::{
    Access, Configuration, Control, Listener, MessageBus, Reloader, Source, UsbBus,
};
use hasher_driver::host::BoardSettings;
use hasher_driver::sim::{Image, SimBoard, SimSettings};
use hasher_driver::transport::{Transport, TransportEvent};
use hasher_driver::{BitmainDevice, DeviceId, DeviceKind, DriverError, HashDevice};
use hasher_work::{Header, Midstate, NonceRange, SearchJob, SearchMode, Target, Work};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// Time from the plug on until the board is fed: its boot loader waits for seconds.
const WARM_UP: Duration = Duration::from_secs(10);
/// How long is measured.
const MEASURED: Duration = Duration::from_secs(60);
/// How long the daemon's thread does nothing, and how often.
const STALL: Duration = Duration::from_millis(40);
const STALL_PERIOD: Duration = Duration::from_secs(1);
/// Clients that always have jobs, and how many each.
const BUSY_CLIENTS: u32 = 4;
const JOBS_EACH: u32 = 16;
/// Time between two urgent jobs; no multiple of a tick.
const URGENT_PERIOD: Duration = Duration::from_millis(511);
/// Time between two looks at the chains: a work is on one for a whole turn.
const LOOK_PERIOD: Duration = Duration::from_millis(3);
/// Leading zero bits that the simulated chips report from: few, so that a CPU keeps up.
const ZERO_BITS: u32 = 10;

/// What a minute showed.
#[derive(Debug)]
pub struct Shown {
    works: u64,
    idle: u64,
    /// From the arrival of a reply of the board to that of the answer made of it.
    replies: Vec<Duration>,
    /// From the call for an urgent search until a chain took its first work.
    starts: Vec<Duration>,
    /// Urgent searches of which nobody saw the start.
    unseen: usize,
    /// From the call for an urgent search to its answer, where the first work had one.
    urgent: Vec<Duration>,
}

/// Runs a minute of it.
///
/// # Errors
/// Daemon, board or a client failed.
pub fn feed() -> anyhow::Result<Shown> {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("hasherd.sock");
    let settings = SimSettings {
        zero_bits: ZERO_BITS,
        ..SimSettings::new(Image::S3Version7)
    };
    let board = SimBoard::new(DeviceId("sim-s3-0".into()), settings)?;
    let held = Held {
        board: board.clone(),
        replied: Arc::default(),
    };
    let replied = Arc::clone(&held.replied);
    let (stop, stopped) = oneshot::channel::<()>();
    let (bound, is_bound) = std::sync::mpsc::channel();
    let path = socket.clone();
    let daemon = thread::spawn(move || serve(&path, held, &bound, stopped));
    is_bound.recv().context("the daemon did not start")?;
    let shown = runtime()?.block_on(ask(&socket, &board, &replied));
    // Whoever waits for it may be gone already.
    _ = stop.send(());
    daemon
        .join()
        .map_err(|_| anyhow::anyhow!("the daemon panicked"))??;
    shown
}

fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// A whole daemon on this thread, which does nothing for [`STALL`] each second.
fn serve(
    socket: &std::path::Path,
    board: Held,
    bound: &std::sync::mpsc::Sender<()>,
    stopped: oneshot::Receiver<()>,
) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let listener = Listener::bind(socket, Access::of_user())?;
        let source = ConfigSource {
            file: None,
            is_required: false,
            devices: Vec::new(),
            bus: None,
            log: Some("warn".into()),
            log_is_from_environment: false,
        };
        let config = source.read().map_err(|_| anyhow::anyhow!("bad defaults"))?;
        let log = hasher_daemon::log::start(config.log());
        let (reloader, requests) = Reloader::channel();
        let configuration = Configuration::new(source, config, log, requests)?;
        let control = Control {
            reloader: Some(reloader),
            bus: MessageBus::None,
        };
        tokio::spawn(async {
            for number in 0.. {
                // At another phase of the tick each time.
                let phase = Duration::from_millis(number % 10);
                tokio::time::sleep(STALL_PERIOD - STALL + phase).await;
                thread::sleep(STALL);
            }
        });
        bound.send(())?;
        let shutdown = async {
            _ = stopped.await;
        };
        let bus: Option<UsbBus> = None;
        hasher_daemon::run(listener, vec![board], bus, configuration, control, shutdown).await;
        Ok(())
    })
}

/// When the board last replied.
type Replied = Mutex<Option<Instant>>;

/// The board as the daemon gets it.
struct Held {
    board: SimBoard,
    replied: Arc<Replied>,
}

impl Source for Held {
    fn id(&self) -> &DeviceId {
        self.board.id()
    }

    fn kind(&self) -> DeviceKind {
        DeviceKind::Simulated
    }

    async fn open(&self) -> Result<Box<dyn HashDevice>, DriverError> {
        let settings = BoardSettings::new(self.id().clone(), self.kind())
            .with_filter_zero_bits(self.board.zero_bits());
        let stamped = Stamped {
            transport: self.board.attach_application().await?,
            replied: Arc::clone(&self.replied),
        };
        Ok(Box::new(BitmainDevice::new(stamped, settings)))
    }
}

/// Notes when something arrives.
struct Stamped<T> {
    transport: T,
    replied: Arc<Replied>,
}

impl<T: Transport> Transport for Stamped<T> {
    fn start_send(&mut self, token: Bytes) {
        self.transport.start_send(token);
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<TransportEvent> {
        let event = self.transport.poll_event(cx);
        if let Poll::Ready(TransportEvent::Received(_)) = event {
            *self.replied.lock().expect("nobody panics with it") = Some(Instant::now());
        }
        event
    }

    fn slowdown(&self) -> Option<f64> {
        self.transport.slowdown()
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.transport.poll_close(cx)
    }
}

async fn ask(socket: &PathBuf, board: &SimBoard, replied: &Arc<Replied>) -> anyhow::Result<Shown> {
    let client = |name: String| Client::builder().socket(socket).name(name).connect();
    let replies = Arc::new(Mutex::new(Vec::new()));
    let mut tasks: JoinSet<anyhow::Result<()>> = JoinSet::new();
    for number in 0..BUSY_CLIENTS {
        let client = Arc::new(client(format!("busy-{number}")).await?);
        for slot in 0..JOBS_EACH {
            let (client, replied) = (Arc::clone(&client), Arc::clone(replied));
            let replies = Arc::clone(&replies);
            let first = (number * JOBS_EACH + slot) << 16;
            tasks.spawn(async move {
                for number in first.. {
                    client.search(job(number)).await?;
                    let at = *replied.lock().expect("nobody panics with it");
                    if let Some(at) = at {
                        let mut replies = replies.lock().expect("nobody panics with it");
                        replies.push(at.elapsed());
                    }
                }
                Ok(())
            });
        }
    }
    tokio::time::sleep(WARM_UP).await;
    let urgent = client("urgent".into()).await?;
    let options = SearchOptions {
        priority: Priority::Interactive,
        ..urgent.options()
    };
    replies.lock().expect("nobody panics with it").clear();
    let (before, begin) = (board.turns(), Instant::now());
    let mut urgent_took = Vec::new();
    let (mut starts, mut unseen) = (Vec::new(), 0);
    for number in 1 << 31.. {
        tokio::time::sleep(URGENT_PERIOD).await;
        if begin.elapsed() >= MEASURED {
            break;
        }
        let job = job(number);
        let watch = Watch::start(board.clone(), job.header.work().midstate);
        let asked = Instant::now();
        let ticket = urgent.submit(&[job], options).await?;
        let answers = ticket.answers().await?;
        match watch.stop()? {
            Some(begun) => starts.push(begun.saturating_duration_since(asked)),
            None => unseen += 1,
        }
        // One work for each chain; a job without luck needs more of them.
        if answers[0].result.works <= 2 {
            urgent_took.push(asked.elapsed());
        }
    }
    let after = board.turns();
    ensure!(tasks.try_join_next().is_none(), "a busy client has ended");
    tasks.shutdown().await;
    let replies = std::mem::take(&mut *replies.lock().expect("nobody panics with it"));
    Ok(Shown {
        works: after.fed - before.fed,
        idle: after.idle - before.idle,
        replies,
        starts,
        unseen,
        urgent: urgent_took,
    })
}

/// Looks at the chains until one has a certain work, on a thread of its own, so that it
/// sees every turn whatever else this program does.
struct Watch {
    is_over: Arc<AtomicBool>,
    thread: thread::JoinHandle<Option<Instant>>,
}

impl Watch {
    fn start(board: SimBoard, wanted: Midstate) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let is_seen_over = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            loop {
                let is_last = is_seen_over.load(Ordering::Relaxed);
                let works = board.on_chains().into_iter();
                let is_wanted = |(work, _): &(Work, _)| work.midstate == wanted;
                if let Some(begun) = works.filter(is_wanted).map(|(_, begun)| begun).min() {
                    return Some(begun.into_std());
                }
                if is_last {
                    return None;
                }
                thread::sleep(LOOK_PERIOD);
            }
        });
        Self { is_over, thread }
    }

    /// When a chain took the work, if that was seen; for when its search is answered.
    fn stop(self) -> anyhow::Result<Option<Instant>> {
        self.is_over.store(true, Ordering::Relaxed);
        let seen = self.thread.join();
        seen.map_err(|_| anyhow::anyhow!("whoever looks at the chains panicked"))
    }
}

/// A search that one work nearly always answers.
fn job(number: u32) -> SearchJob {
    let mut header = [0; 80];
    header[..4].copy_from_slice(&number.to_le_bytes());
    while Header(header).work().midstate.is_dropped_by_s3() {
        header[4] += 1;
    }
    SearchJob {
        header: Header(header),
        range: NonceRange::WHOLE,
        target: Target::from_zero_bits(4).expect("four zero bits are allowed"),
        mode: SearchMode::FirstFound(1),
        rolls: 100,
    }
}

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let at = |times: &[Duration], share: f64| {
            let mut times = times.to_vec();
            times.sort_unstable();
            let last = times.len().saturating_sub(1) as f64;
            let at = times.get((last * share).round() as usize);
            at.map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
        };
        let stall = STALL.as_millis();
        writeln!(
            f,
            "A simulated S3 in real time for {} s, {BUSY_CLIENTS} clients with {JOBS_EACH} jobs \
             each, the daemon's thread held up for {stall} ms each second:\n",
            MEASURED.as_secs()
        )?;
        writeln!(f, "| what | measured | goal |\n| --- | ---: | --- |")?;
        writeln!(f, "| works begun | {} |  |", self.works)?;
        writeln!(f, "| turns of a chain without a work | {} | 0 |", self.idle)?;
        for (what, share) in [("median", 0.5), ("99 of 100 within", 0.99)] {
            let time = at(&self.replies, share);
            let goal = "≤ 2 ms and a frame of USB";
            writeln!(
                f,
                "| reply of the board to the client's answer, {what} | {time:.2} ms | {goal} |"
            )?;
        }
        for (what, share) in [("median", 0.5), ("longest", 1.0)] {
            let time = at(&self.starts, share);
            let count = self.starts.len();
            writeln!(
                f,
                "| urgent search, call to start on a chip, {what} of {count} | {time:.1} ms | ≤ 80 ms |"
            )?;
        }
        writeln!(
            f,
            "| urgent searches whose start nobody saw | {} |  |",
            self.unseen
        )?;
        for (what, share) in [("median", 0.5), ("longest", 1.0)] {
            let time = at(&self.urgent, share);
            writeln!(
                f,
                "| urgent search, call to answer, {what} of {} | {time:.1} ms |  |",
                self.urgent.len()
            )?;
        }
        Ok(())
    }
}
