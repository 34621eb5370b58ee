//! Clients that ask as fast as they are answered.
//!
//! One thread, whatever the server: what it writes is encoded before the turn, what it
//! reads is cut into frames and not decoded. So a difference between two servers is
//! theirs. Every wait ends after [`PATIENCE`].

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hasher_wire::MAX_FRAME_BYTES;
use hasher_work::Digest;
use rustix::event::epoll;

use super::dialect::{Dialect, Message, frame_bytes};
use crate::race::Spread;

/// Longest wait for a server; answers take microseconds.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How long a candidate is asked in one turn: thousands of answers, and short against a
/// change of the machine's load.
pub const TURN: Duration = Duration::from_millis(100);

/// What a server showed in one turn.
#[derive(Debug, Clone, Copy)]
pub struct Shown {
    /// Jobs that were answered in a second of wall time.
    pub jobs_per_second: f64,
    /// Half of the requests were answered within so many microseconds.
    pub p50_us: f64,
    /// 99 of 100 requests were.
    pub p99_us: f64,
    /// Jobs that were answered.
    pub jobs: usize,
    /// Processor time that the server took for a job, in nanoseconds, if it is a process of
    /// its own.
    pub server_ns: Option<f64>,
}

impl Shown {
    /// Of the time that each request took, with so many jobs in each.
    pub fn of(mut latencies: Vec<Duration>, jobs: usize, elapsed: Duration) -> Self {
        latencies.sort_unstable();
        let at = |share: f64| match latencies.len() {
            0 => f64::NAN,
            all => latencies[((all - 1) as f64 * share).round() as usize].as_secs_f64() * 1e6,
        };
        Self {
            jobs_per_second: (latencies.len() * jobs) as f64 / elapsed.as_secs_f64(),
            p50_us: at(0.5),
            p99_us: at(0.99),
            jobs: latencies.len() * jobs,
            server_ns: None,
        }
    }

    /// The median over all turns of one figure.
    pub fn median(turns: &[Self], figure: impl Fn(&Self) -> f64) -> f64 {
        Spread::of(turns.iter().map(figure)).median
    }
}

/// A connection to a server, and the answers that were read from it in part.
#[derive(Debug)]
pub struct Connection {
    dialect: Dialect,
    stream: UnixStream,
    incoming: Box<[u8]>,
    /// Bytes of `incoming` that were read and belong to no whole frame yet.
    filled: usize,
}

impl Connection {
    /// Connects and says what the protocol wants said first.
    pub fn open(dialect: Dialect, socket: &Path) -> anyhow::Result<Self> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        dialect.greet(&mut stream)?;
        Ok(Self {
            dialect,
            stream,
            incoming: vec![0; 4 * MAX_FRAME_BYTES].into(),
            filled: 0,
        })
    }

    fn send(&mut self, frames: &[u8]) -> anyhow::Result<()> {
        self.stream
            .write_all(frames)
            .context("cannot send a request")
    }

    /// Reads once, and hands out every whole answer with the number of its request.
    fn receive(
        &mut self,
        mut answered: impl FnMut(usize, &[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let read = self
            .stream
            .read(&mut self.incoming[self.filled..])
            .context("no answer")?;
        ensure!(read > 0, "the server closed the connection");
        self.filled += read;
        let mut used = 0;
        while let Some(bytes) = frame_bytes(&self.incoming[used..self.filled]) {
            ensure!(bytes <= MAX_FRAME_BYTES, "an answer of {bytes} bytes");
            if self.filled - used < bytes {
                break;
            }
            let frame = &self.incoming[used..used + bytes];
            answered(self.dialect.number(frame)? as usize, frame)?;
            used += bytes;
        }
        self.incoming.copy_within(used..self.filled, 0);
        self.filled -= used;
        Ok(())
    }

    /// The digests of `messages`, as the server computes them.
    pub fn digests(&mut self, messages: &[Message]) -> anyhow::Result<Vec<Digest>> {
        self.send(&self.dialect.request(0, messages)?)?;
        let (dialect, mut digests) = (self.dialect, None);
        while digests.is_none() {
            self.receive(|_, frame| {
                digests = Some(dialect.digests(frame)?);
                Ok(())
            })?;
        }
        digests.context("no answer")
    }

    /// Keeps `in_flight` requests for `messages` unanswered for one turn. All that is
    /// unanswered at once must fit into the socket's buffer, because a client that writes
    /// does not read.
    pub fn pipeline(&mut self, in_flight: usize, messages: &[Message]) -> anyhow::Result<Shown> {
        let numbers = 0..in_flight as u32;
        let requests: Vec<_> = numbers
            .map(|number| self.dialect.request(number, messages))
            .collect::<Result<_, _>>()?;
        let mut latencies = Vec::with_capacity(1 << 18);
        let begin = Instant::now();
        let mut sent_at = vec![begin; in_flight];
        let mut unanswered = in_flight;
        self.send(&requests.concat())?;
        let mut next = Vec::with_capacity(requests.iter().map(Vec::len).sum());
        let mut free = Vec::with_capacity(in_flight);
        while unanswered > 0 {
            self.receive(|number, _| {
                free.push(number);
                Ok(())
            })?;
            let now = Instant::now();
            let goes_on = now - begin < TURN;
            for number in free.drain(..) {
                latencies.push(now - sent_at[number]);
                if goes_on {
                    sent_at[number] = now;
                    next.extend_from_slice(&requests[number]);
                } else {
                    unanswered -= 1;
                }
            }
            if !next.is_empty() {
                self.send(&next)?;
                next.clear();
            }
        }
        Ok(Shown::of(latencies, messages.len(), begin.elapsed()))
    }
}

/// Many clients of one server, each with one request unanswered.
#[derive(Debug)]
pub struct Crowd {
    connections: Vec<Connection>,
    epoll: std::os::fd::OwnedFd,
}

impl Crowd {
    /// Connects so many clients.
    pub fn open(dialect: Dialect, socket: &Path, clients: usize) -> anyhow::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut connections = Vec::with_capacity(clients);
        for client in 0..clients as u64 {
            let connection = Connection::open(dialect, socket)?;
            let data = epoll::EventData::new_u64(client);
            epoll::add(&epoll, &connection.stream, data, epoll::EventFlags::IN)?;
            connections.push(connection);
        }
        Ok(Self { connections, epoll })
    }

    /// Lets each client have one request for `message` unanswered for one turn.
    pub fn ask(&mut self, message: Message) -> anyhow::Result<Shown> {
        let clients = self.connections.len();
        let mut latencies = Vec::with_capacity(1 << 16);
        let begin = Instant::now();
        let mut sent_at = vec![begin; clients];
        let mut unanswered = clients;
        let Some(first) = self.connections.first() else {
            return Ok(Shown::of(latencies, 1, begin.elapsed()));
        };
        let request = first.dialect.request(0, &[message])?;
        for connection in &mut self.connections {
            connection.send(&request)?;
        }
        let patience = PATIENCE.try_into()?;
        let mut events = Vec::with_capacity(clients);
        while unanswered > 0 {
            events.clear();
            let spare = rustix::buffer::spare_capacity(&mut events);
            let count = epoll::wait(&self.epoll, spare, Some(&patience))?;
            ensure!(count > 0, "no answer within {PATIENCE:?}");
            for event in &events {
                let client = event.data.u64() as usize;
                let connection = &mut self.connections[client];
                let mut is_answered = false;
                connection.receive(|_, _| {
                    is_answered = true;
                    Ok(())
                })?;
                if !is_answered {
                    continue;
                }
                let now = Instant::now();
                latencies.push(now - sent_at[client]);
                if now - begin < TURN {
                    sent_at[client] = now;
                    connection.send(&request)?;
                } else {
                    unanswered -= 1;
                }
            }
        }
        Ok(Shown::of(latencies, 1, begin.elapsed()))
    }
}
