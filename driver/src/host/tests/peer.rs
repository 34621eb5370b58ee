//! A controller of a hundred lines for the host's tests: FIFO, ticks, replies. It is
//! written against the protocol reference and shares nothing but the codec with the
//! host. Results of a work come at the last moment, on the tick that replaces it.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use hasher_work::{Nonce, Work};

use crate::Layout;
use crate::token::{ChainStatus, FoundNonce, NonceReply, Reply, Request, StatusReply, WorkEntry};
use crate::transport::MAX_OUT_BYTES;

/// Zero bits that the peer's chips filter for.
pub const ZERO_BITS: u32 = 6;

/// A board that behaves, unless told otherwise.
#[derive(Debug)]
pub struct Peer {
    pub layout: Layout,
    /// Ticks take so many times their period.
    pub slowdown: f64,
    /// Free places of the empty queue.
    pub depth: usize,
    pub temperature: u8,
    pub fan: u8,
    /// Answers nothing and takes nothing while set.
    pub is_silent: bool,
    /// Takes tokens and answers, but never takes a work from its queue.
    pub is_stuck: bool,
    pub nonce_errors: u32,
    pub period: Duration,
    pub pll: [u8; 4],
    pub flushes: u32,
    /// Most works that ever waited.
    pub deepest: usize,
    pub received: Vec<Request>,
    fifo: VecDeque<WorkEntry>,
    on_chips: [Option<WorkEntry>; 2],
    found: VecDeque<FoundNonce>,
    is_running: bool,
    run_since: Duration,
    next_tick: Option<Duration>,
    empty_ticks: u32,
    owes_status: bool,
    /// So many status replies are lost on their way.
    pub loses_statuses: u32,
}

impl Peer {
    pub fn new(layout: Layout) -> Self {
        Self {
            layout,
            slowdown: 1.0,
            depth: layout.model().fifo_depth() as usize,
            temperature: 40,
            fan: 30,
            is_silent: false,
            is_stuck: false,
            nonce_errors: 0,
            period: Duration::from_millis(40),
            pll: [0; 4],
            flushes: 0,
            deepest: 0,
            received: Vec::new(),
            fifo: VecDeque::new(),
            on_chips: [None; 2],
            found: VecDeque::new(),
            is_running: false,
            run_since: Duration::ZERO,
            next_tick: None,
            empty_ticks: 0,
            owes_status: false,
            loses_statuses: 0,
        }
    }

    /// One OUT transfer.
    pub fn receive(&mut self, token: &Bytes, now: Duration) {
        assert!(token.len() <= MAX_OUT_BYTES);
        let Ok(request) = Request::decode(self.layout, token) else {
            return;
        };
        if self.is_silent {
            return;
        }
        match &request {
            Request::Status(query) => {
                if query.detect {
                    self.flush();
                }
                self.owes_status = true;
            }
            Request::Config(config) => {
                assert!((1..=69).contains(&config.timeout_ms));
                self.period = Duration::from_millis(config.timeout_ms.into());
                self.pll = config.reg_data;
                if config.flags.reset {
                    self.flush();
                }
            }
            Request::Task(task) => {
                assert!(
                    task.works.len() <= self.space(),
                    "{} works for {} places",
                    task.works.len(),
                    self.space()
                );
                self.fifo.extend(&task.works);
                self.deepest = self.deepest.max(self.fifo.len());
                if !self.is_running {
                    self.is_running = true;
                    self.run_since = now;
                    self.empty_ticks = 0;
                    self.next_tick = Some(now + self.tick());
                }
            }
        }
        self.received.push(request);
    }

    pub fn wake_at(&self) -> Option<Duration> {
        self.next_tick
    }

    pub fn is_running(&self) -> bool {
        self.is_running
    }

    /// Lets the timer tick up to `now`.
    pub fn pass(&mut self, now: Duration) {
        while let Some(at) = self.next_tick.filter(|at| *at <= now) {
            self.next_tick = Some(at + self.tick());
            self.on_tick(at);
            if !self.is_running {
                self.next_tick = None;
            }
        }
    }

    fn on_tick(&mut self, at: Duration) {
        if self.is_stuck {
            return;
        }
        if self.fifo.is_empty() {
            self.empty_ticks += 1;
            self.is_running = self.empty_ticks < 2;
            return;
        }
        self.empty_ticks = 0;
        let one_chain = self.layout == Layout::S3
            && at < self.run_since + Duration::from_millis(500).mul_f64(self.slowdown);
        let chains = if one_chain { 1 } else { 2 };
        for chain in 0..chains {
            let Some(next) = self.fifo.pop_front() else {
                break;
            };
            if let Some(done) = self.on_chips[chain].replace(next) {
                self.found.push_back(FoundNonce {
                    work_id: done.id,
                    nonce: solution(&done.work),
                });
            }
        }
    }

    /// The reply to one IN poll, or nothing.
    pub fn reply(&mut self) -> Option<Bytes> {
        if self.is_silent {
            return None;
        }
        if self.owes_status && self.loses_statuses > 0 {
            self.loses_statuses -= 1;
            self.owes_status = false;
        }
        let timer_runs = self.next_tick.is_some();
        let reply = if timer_runs && !self.found.is_empty() {
            let most = match self.layout {
                Layout::S1 => 7,
                Layout::S3 => 32,
            };
            let count = self.found.len().min(most);
            Reply::Nonces(NonceReply {
                fifo_space: self.space().min(255) as u16,
                nonces: self.found.drain(..count).collect(),
                ..NonceReply::default()
            })
        } else if self.owes_status {
            self.owes_status = false;
            Reply::Status(self.status())
        } else {
            return None;
        };
        Some(reply.encode(self.layout))
    }

    fn status(&self) -> StatusReply {
        let s3 = self.layout == Layout::S3;
        let model = self.layout.model();
        StatusReply {
            version: if s3 { [7, 0, 0, 3] } else { [7, 0, 0, 0] },
            fifo_space: self.space() as u32,
            nonce_errors: self.nonce_errors,
            chains: vec![
                ChainStatus {
                    asic_num: model.chips_per_chain(),
                    exist: if s3 { vec![0xffff] } else { vec![] },
                    healthy: vec![0xffff],
                };
                2
            ],
            temperatures: vec![self.temperature; 2],
            fans: vec![self.fan; if s3 { 2 } else { 1 }],
            fans_exist: if s3 { 3 } else { 0 },
            ..StatusReply::default()
        }
    }

    fn space(&self) -> usize {
        self.depth - self.fifo.len()
    }

    fn tick(&self) -> Duration {
        self.period.mul_f64(self.slowdown)
    }

    pub fn flush(&mut self) {
        self.flushes += 1;
        self.fifo.clear();
        self.found.clear();
        self.nonce_errors = 0;
        self.is_running = false;
        self.next_tick = None;
    }
}

/// The first nonce that solves a work.
pub fn solution(work: &Work) -> Nonce {
    (0..)
        .map(Nonce)
        .find(|nonce| work.verify(*nonce, ZERO_BITS).is_some())
        .expect("one nonce in 64 solves")
}
