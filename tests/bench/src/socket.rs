//! Digests through the socket of a real hasherd, against a hand-written blocking loop,
//! tonic over the same kind of socket, and the loops of the kernel without any socket.
//!
//! Every server is a process of its own and digests the same messages with the same
//! loops. Time is wall time: waking the other side up is what a socket costs, and no
//! thread's clock shows it.

mod blocking;
mod dialect;
mod grpc;
mod load;
mod processors;
mod ring;
mod server;

use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use hasher_kernel::{Backend, digest_batch};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use self::dialect::{Dialect, Message};
use self::load::{Connection, Crowd, Shown, TURN};
use self::processors::Processors;
use self::ring::Ring;
use self::server::Server;
use crate::race::{Candidate, Spread, take_turns};
use crate::report::{Bound, Report};

const HASHERD: &str = "hasherd";
const BLOCKING: &str = "blocking loop";
const TONIC: &str = "tonic";
const IN_PROCESS: &str = "no socket";
const RING: &str = "hasherd, shared memory";

/// What is shown of a candidate besides its ratio: how fast it answered, how soon, and what
/// a job took of its server's processor time.
const COLUMNS: [&str; 4] = ["thousand jobs/s", "p50 µs", "p99 µs", "server µs/job"];

/// Clients at once: as many as hasherd lets in unless told otherwise.
const CLIENTS: usize = 64;
/// And nearly as many as it can be told.
const MANY_CLIENTS: usize = 1000;

/// Open files of a server that has two for each of [`MANY_CLIENTS`], and of this program,
/// which has that of two servers.
const FILES: u64 = 4096;

/// Messages of 80 bytes that fill a frame of hasherd.
const FRAME_MESSAGES: usize = 683;

/// What each candidate showed, turn by turn, and its name.
type Lanes = Vec<(String, Vec<Shown>)>;

/// Is a peer of hasherd, until standard input ends.
pub fn serve(peer: &str, socket: &Path) -> anyhow::Result<()> {
    server::end_with_stdin()?;
    match peer {
        BLOCKING => Ok(blocking::serve(socket)?),
        TONIC => grpc::serve(socket),
        _ => bail!("no peer is called {peer:?}"),
    }
}

/// Measures the `hasherd` at `daemon`.
pub fn measure(daemon: &Path, turns: usize) -> anyhow::Result<Report> {
    let folder = tempfile::tempdir()?;
    let peer = |name: &str, file| {
        let socket = folder.path().join(file);
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--serve", name]).arg(&socket);
        Server::start(command, socket)
    };
    allow_files()?;
    let usual = hasherd(daemon, folder.path(), "hasherd", CLIENTS)?;
    // Each of its sessions has fewer credits, so it is used for the crowd only.
    let large = hasherd(daemon, folder.path(), "hasherd-large", MANY_CLIENTS)?;
    let (blocking, tonic) = (peer(BLOCKING, "blocking")?, peer(TONIC, "tonic")?);
    let peers = Peers {
        hasherd: &usual,
        large: &large,
        blocking: &blocking,
        tonic: &tonic,
    };
    peers.check()?;
    let mut report = Report::with_columns(&COLUMNS);
    peers.single_jobs(1, turns, &mut report)?;
    peers.single_jobs(64, turns, &mut report)?;
    peers.crowd(CLIENTS, peers.hasherd, turns, &mut report)?;
    peers.crowd(MANY_CLIENTS, peers.large, turns, &mut report)?;
    peers.batches(512, 8, Bound::Ratio(0.40), turns, &mut report)?;
    peers.batches(
        3 * FRAME_MESSAGES,
        6,
        Bound::Ratio(0.50),
        turns,
        &mut report,
    )?;
    peers.slots(32, turns, &mut report)?;
    peers.slots(128, turns, &mut report)?;
    Ok(report)
}

/// Lets this process and the servers that it starts have enough open files.
fn allow_files() -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|files| files < FILES) {
        let current = Some(FILES);
        setrlimit(Resource::Nofile, Rlimit { current, ..limit })
            .with_context(|| format!("cannot have {FILES} open files"))?;
    }
    Ok(())
}

/// A hasherd that lets one user have so many sessions.
fn hasherd(program: &Path, folder: &Path, name: &str, sessions: usize) -> anyhow::Result<Server> {
    let socket = folder.join(name);
    let configuration = folder.join(format!("{name}.toml"));
    let limits = format!("[limits]\nsessions = {sessions}\nsessions_per_user = {sessions}\n");
    std::fs::write(&configuration, limits)?;
    let mut command = Command::new(program);
    command
        .args(["--device=cpu", "--bus=none", "--log=warn"])
        .args(["--exit-on-stdin-eof", "--config"])
        .arg(configuration)
        .arg("--socket")
        .arg(&socket);
    Server::start(command, socket)
}

fn messages(count: usize) -> Vec<Message> {
    let message = |i| {
        let mut message = [i as u8; size_of::<Message>()];
        message[..4].copy_from_slice(&(i as u32).to_le_bytes());
        message
    };
    (0..count).map(message).collect()
}

/// Where the candidates serve.
struct Peers<'a> {
    hasherd: &'a Server,
    /// A hasherd that lets more clients in.
    large: &'a Server,
    blocking: &'a Server,
    tonic: &'a Server,
}

impl Peers<'_> {
    /// Whether all of them compute the same digests.
    fn check(&self) -> anyhow::Result<()> {
        let messages = messages(FRAME_MESSAGES);
        let expected: Vec<_> = messages.iter().map(|m| hasher_work::digest(m)).collect();
        let hasherd = self.of_hasherd()?.digests(&messages)?;
        ensure!(hasherd == expected, "hasherd's digests are wrong");
        let ring = Ring::open(self.hasherd.socket())?.digests(&messages)?;
        ensure!(ring == expected, "the digests in shared memory are wrong");
        let blocking = self.of_blocking()?.digests(&messages)?;
        ensure!(
            blocking == expected,
            "the blocking loop's digests are wrong"
        );
        let tonic = grpc::Client::open(self.tonic.socket())?.digests(&messages)?;
        ensure!(tonic == expected, "tonic's digests are wrong");
        ensure!(digest_batch(&messages) == expected, "the kernel is wrong");
        Ok(())
    }

    fn of_hasherd(&self) -> anyhow::Result<Connection> {
        Connection::open(Dialect::Hasher, self.hasherd.socket())
    }

    fn of_blocking(&self) -> anyhow::Result<Connection> {
        Connection::open(Dialect::Plain, self.blocking.socket())
    }

    /// One client, one job in a request.
    fn single_jobs(
        &self,
        in_flight: usize,
        turns: usize,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let one = messages(1);
        let (mut blocking, mut hasherd) = (self.of_blocking()?, self.of_hasherd()?);
        let mut tonic = grpc::Client::open(self.tonic.socket())?;
        let lanes = take_turns(
            vec![
                Candidate::new(BLOCKING, || {
                    self.blocking.watch(|| blocking.pipeline(in_flight, &one))
                }),
                Candidate::new(TONIC, || {
                    self.tonic.watch(|| tonic.pipeline(in_flight, one[0]))
                }),
                Candidate::new(HASHERD, || {
                    self.hasherd.watch(|| hasherd.pipeline(in_flight, &one))
                }),
            ],
            turns,
        )?;
        let task = format!("1 client, {in_flight} in flight");
        let mut table = Table {
            report,
            task: &task,
            lanes: &lanes,
        };
        table.speed(BLOCKING, BLOCKING, None);
        table.speed(TONIC, BLOCKING, None);
        if in_flight == 1 {
            table.speed(HASHERD, BLOCKING, None);
            table.compare(
                "hasherd's p50 to the blocking loop's",
                (HASHERD, |shown| shown.p50_us),
                (BLOCKING, |shown| shown.p50_us),
                Bound::RatioMost(1.1),
            );
        } else {
            table.speed(HASHERD, BLOCKING, Some(Bound::Ratio(0.8)));
            table.compare(
                "hasherd to tonic",
                (HASHERD, |shown| shown.jobs_per_second),
                (TONIC, |shown| shown.jobs_per_second),
                Bound::Ratio(12.0),
            );
        }
        Ok(())
    }

    /// So many clients, each with one job unanswered.
    fn crowd(
        &self,
        clients: usize,
        server: &Server,
        turns: usize,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let one = messages(1)[0];
        let mut blocking = Crowd::open(Dialect::Plain, self.blocking.socket(), clients)?;
        let mut hasherd = Crowd::open(Dialect::Hasher, server.socket(), clients)?;
        let lanes = take_turns(
            vec![
                Candidate::new(BLOCKING, || self.blocking.watch(|| blocking.ask(one))),
                Candidate::new(HASHERD, || server.watch(|| hasherd.ask(one))),
            ],
            turns,
        )?;
        let mut table = Table {
            report,
            task: &format!("{clients} clients, 1 in flight each"),
            lanes: &lanes,
        };
        table.speed(BLOCKING, BLOCKING, None);
        table.speed(HASHERD, BLOCKING, Some(Bound::Ratio(1.6)));
        table.compare(
            "hasherd's p99 to its p50",
            (HASHERD, |shown| shown.p99_us),
            (HASHERD, |shown| shown.p50_us),
            Bound::RatioMost(2.0),
        );
        Ok(())
    }

    /// Batches of jobs, in requests as long as hasherd takes them.
    fn batches(
        &self,
        jobs: usize,
        in_flight: usize,
        bound: Bound,
        turns: usize,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let messages = messages(jobs);
        let frame = &messages[..jobs.min(FRAME_MESSAGES)];
        let (mut blocking, mut hasherd) = (self.of_blocking()?, self.of_hasherd()?);
        let processors = Processors::divide(&[self.blocking, self.hasherd])?;
        let lanes = take_turns(
            vec![
                Candidate::new(IN_PROCESS, || in_process(&processors, &messages)),
                Candidate::new(BLOCKING, || {
                    processors.be_client()?;
                    self.blocking.watch(|| blocking.pipeline(in_flight, frame))
                }),
                Candidate::new(HASHERD, || {
                    processors.be_client()?;
                    self.hasherd.watch(|| hasherd.pipeline(in_flight, frame))
                }),
            ],
            turns,
        )?;
        let requests = jobs / frame.len();
        let task = match requests {
            1 => format!("batches of {jobs}, {in_flight} in flight"),
            _ => format!(
                "batches of {jobs} in {requests} requests, {} in flight",
                in_flight / requests
            ),
        };
        let mut table = Table {
            report,
            task: &task,
            lanes: &lanes,
        };
        let bound = (Backend::chosen() == Backend::Avx512).then_some(bound);
        table.speed(IN_PROCESS, IN_PROCESS, None);
        table.speed(BLOCKING, IN_PROCESS, None);
        table.speed(HASHERD, IN_PROCESS, bound);
        Ok(())
    }

    /// Batches of jobs through shared memory, each in a slot of its own.
    fn slots(&self, jobs: usize, turns: usize, report: &mut Report) -> anyhow::Result<()> {
        let messages = messages(jobs);
        let mut ring = Ring::open(self.hasherd.socket())?;
        let processors = Processors::divide(&[self.hasherd])?;
        let lanes = take_turns(
            vec![
                Candidate::new(IN_PROCESS, || in_process(&processors, &messages)),
                Candidate::new(RING, || {
                    processors.be_client()?;
                    self.hasherd.watch(|| ring.pipeline(&messages))
                }),
            ],
            turns,
        )?;
        let mut table = Table {
            report,
            task: &format!("slots of {jobs}, all in flight"),
            lanes: &lanes,
        };
        let bound = (Backend::chosen() == Backend::Avx512).then_some(Bound::Ratio(0.85));
        table.speed(IN_PROCESS, IN_PROCESS, None);
        table.speed(RING, IN_PROCESS, bound);
        Ok(())
    }
}

fn in_process(processors: &Processors, messages: &[Message]) -> anyhow::Result<Shown> {
    processors.be_server()?;
    let begin = Instant::now();
    let mut latencies = Vec::new();
    while begin.elapsed() < TURN {
        let asked_at = Instant::now();
        black_box(digest_batch(black_box(messages)));
        latencies.push(asked_at.elapsed());
    }
    Ok(Shown::of(latencies, messages.len(), begin.elapsed()))
}

/// The rows of one task.
struct Table<'a> {
    report: &'a mut Report,
    task: &'a str,
    lanes: &'a Lanes,
}

impl Table<'_> {
    fn shown(&self, name: &str) -> &[Shown] {
        let lane = self.lanes.iter().find(|(lane, _)| lane == name);
        lane.map_or(&[], |(_, shown)| shown)
    }

    fn figures(&self, name: &str) -> Vec<String> {
        let shown = self.shown(name);
        vec![
            format!("{:.1}", Shown::median(shown, |s| s.jobs_per_second / 1e3)),
            format!("{:.0}", Shown::median(shown, |s| s.p50_us)),
            format!("{:.0}", Shown::median(shown, |s| s.p99_us)),
            if shown.iter().any(|s| s.server_ns.is_none()) {
                String::new()
            } else {
                let server_us = |s: &Shown| s.server_ns.unwrap_or_default() / 1e3;
                format!("{:.3}", Shown::median(shown, server_us))
            },
        ]
    }

    fn ratio(&self, of: Figure<'_>, to: Figure<'_>) -> Spread {
        let pairs = self.shown(of.0).iter().zip(self.shown(to.0));
        Spread::of(pairs.map(|(shown, base)| of.1(shown) / to.1(base)))
    }

    /// The figures of a candidate, and its rate against that of the base.
    fn speed(&mut self, name: &str, base: &str, bound: Option<Bound>) {
        let speed = |shown: &Shown| shown.jobs_per_second;
        let ratio = self.ratio((name, speed), (base, speed));
        let figures = self.figures(name);
        self.report.add_row(self.task, name, figures, ratio, bound);
    }

    /// One figure of a candidate against one of another or of itself.
    fn compare(&mut self, label: &str, of: Figure<'_>, to: Figure<'_>, bound: Bound) {
        let ratio = self.ratio(of, to);
        let figures = vec![String::new(); COLUMNS.len()];
        self.report
            .add_row(self.task, label, figures, ratio, Some(bound));
    }
}

/// A candidate, and which of its figures.
type Figure<'a> = (&'a str, fn(&Shown) -> f64);
