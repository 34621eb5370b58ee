use std::collections::{HashMap, HashSet};
use std::time::Duration;

use hasher_wire::{Cancel, Failed, Features, Limits, Search, SearchDone, Version};
use hasher_work::{Header, NonceRange, SearchEnd, SearchMode, SearchResult, Target};
use proptest::prelude::*;

use super::*;

/// A generator with a state of eight bytes (SplitMix64), good enough to choose.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % sides as u64) as usize
    }
}

fn session(credits: u16) -> Session {
    Session {
        peer: "test".into(),
        connection: 1,
        version: Version::NEWEST,
        daemon: String::new(),
        credits,
        limits: Limits {
            frame_bytes: 64 * 1024,
            jobs: 5,
            messages: 1024,
            chunk_bytes: 1024,
            deadline_default_ms: 60_000,
            deadline_max_ms: 600_000,
        },
        features: Features::ROLLS,
    }
}

fn job(number: u8) -> SearchJob {
    SearchJob {
        header: Header([number; 80]),
        range: NonceRange::WHOLE,
        target: Target::ANY,
        mode: SearchMode::Exhaust,
        rolls: 0,
    }
}

/// A ticket as its caller sees it.
struct Caller {
    keys: Range<Key>,
    answers: mpsc::Receiver<JobAnswer>,
    answered: HashSet<usize>,
}

/// A ledger between random callers and a random daemon, with a clock of its own.
struct World {
    dice: Dice,
    now: Instant,
    ledger: Ledger,
    out: BytesMut,
    callers: Vec<Caller>,
    next_key: Key,
    /// What the daemon has not answered: number and place.
    open: Vec<(RequestId, u16)>,
    credits: u16,
    is_connected: bool,
    sendings: HashMap<u8, u32>,
}

const RETRY: Retry = Retry {
    attempts: 3,
    first_delay: Duration::from_millis(100),
    max_delay: Duration::from_secs(1),
};

impl World {
    fn new(seed: u64) -> Self {
        let (events, _) = broadcast::channel(1);
        Self {
            dice: Dice(seed),
            now: Instant::now(),
            ledger: Ledger::new(RETRY, events),
            out: BytesMut::new(),
            callers: Vec::new(),
            next_key: 0,
            open: Vec::new(),
            credits: 0,
            is_connected: false,
            sendings: HashMap::new(),
        }
    }

    fn submit(&mut self) {
        let jobs = 1 + self.dice.roll(8);
        let first = self.next_key;
        self.next_key += jobs as Key;
        let (reply, answers) = mpsc::channel(jobs);
        let deadline = self.now + Duration::from_millis(100 << self.dice.roll(9));
        for index in 0..jobs {
            let work = Work::Search {
                // The number of the job, as far as a byte holds it.
                job: job((first as usize + index) as u8),
                priority: Priority::Batch,
                ticket: first,
                index,
                reply: reply.clone(),
            };
            self.ledger.submit(first + index as Key, work, deadline);
        }
        self.callers.push(Caller {
            keys: first..self.next_key,
            answers,
            answered: HashSet::new(),
        });
    }

    fn drop_a_ticket(&mut self) {
        if !self.callers.is_empty() {
            let place = self.dice.roll(self.callers.len());
            let mut caller = self.callers.swap_remove(place);
            caller.answers.close();
            self.ledger.cancel(caller.keys, self.now, &mut self.out);
            self.read_out();
        }
    }

    fn connect(&mut self) {
        if !self.is_connected {
            self.is_connected = true;
            self.credits = 1 + self.dice.roll(12) as u16;
            let session = session(self.credits);
            self.ledger.connected(session, &mut self.out);
        }
    }

    fn lose(&mut self, error: ClientError) {
        if self.is_connected {
            self.is_connected = false;
            self.open.clear();
            self.out.clear();
            self.ledger.lost(error, self.now);
        }
    }

    /// The daemon answers something.
    fn answer(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let place = self.dice.roll(self.open.len());
        let (request, index) = self.open.swap_remove(place);
        let frame = match self.dice.roll(8) {
            0 => failed(request, Some(index), Status::Busy),
            1 => failed(request, Some(index), Status::NoDevice),
            2 => {
                self.open.retain(|(other, _)| *other != request);
                failed(request, None, Status::DeviceGone)
            }
            _ => Frame::SearchDone(SearchDone {
                request,
                index,
                result: SearchResult {
                    hits: Vec::new(),
                    end: SearchEnd::Exhausted,
                    certain_nonces: 0,
                    works: 1,
                },
                computed_by: Vec::new(),
            }),
        };
        let received = self.ledger.receive(frame, self.now, &mut self.out);
        received.expect("an answer to what was asked");
    }

    /// What the ledger sends, as the daemon reads it.
    fn read_out(&mut self) {
        while let Some(frame) = Codec.decode(&mut self.out).unwrap() {
            match frame {
                Frame::Search(Search { request, jobs }) => {
                    assert!((1..=5).contains(&jobs.len()), "limit of jobs");
                    for (index, asked) in (0..).zip(&jobs) {
                        assert!(asked.deadline_ms > 0);
                        self.open.push((request, index));
                        *self.sendings.entry(asked.job.header.0[0]).or_default() += 1;
                    }
                }
                Frame::Cancel(Cancel { request, .. }) => {
                    // As a daemon does: all of it at once, as cancelled.
                    self.open.retain(|(other, _)| *other != request);
                    let frame = failed(request, None, Status::Cancelled);
                    let received = self.ledger.receive(frame, self.now, &mut self.out);
                    received.expect("a cancel of what is open");
                }
                other => panic!("{other:?}"),
            }
            assert!(self.open.len() <= self.credits.into(), "credits");
        }
    }

    fn pass_time(&mut self) {
        self.now += Duration::from_millis(1 << self.dice.roll(12));
        if let Err(error) = self.ledger.tick(self.now) {
            assert!(matches!(error, ClientError::Timeout { .. }), "{error:?}");
            self.lose(error);
        }
    }

    fn step(&mut self) {
        match self.dice.roll(20) {
            0..4 => self.submit(),
            4 => self.drop_a_ticket(),
            5 => self.connect(),
            6 if self.dice.roll(4) == 0 => {
                let status = match self.dice.roll(3) {
                    0 => Some(Status::ShuttingDown),
                    1 if self.dice.roll(3) == 0 => Some(Status::Protocol),
                    _ => None,
                };
                let reason = String::new();
                self.lose(ClientError::Closed { status, reason });
            }
            7 | 8 => self.pass_time(),
            _ => self.answer(),
        }
        if self.is_connected {
            self.ledger.fill(&mut self.out, self.now);
            self.read_out();
        }
        self.collect();
    }

    fn collect(&mut self) {
        for caller in &mut self.callers {
            while let Ok((index, _)) = caller.answers.try_recv() {
                assert!(caller.answered.insert(index), "a job was answered twice");
            }
        }
    }
}

fn failed(request: RequestId, index: Option<u16>, status: Status) -> Frame {
    Frame::Failed(Failed {
        request,
        index,
        status,
        message: "".into(),
    })
}

/// `HASHER_TEST_SEED`, or one that differs from run to run; printed either way.
fn seed() -> u64 {
    let seed = match std::env::var("HASHER_TEST_SEED") {
        Ok(text) => text.parse().unwrap(),
        Err(_) => std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64,
    };
    eprintln!("HASHER_TEST_SEED={seed}");
    seed
}

#[test]
fn every_job_ends_exactly_once_whatever_happens() {
    let seed = seed();
    for round in 0..100 {
        let mut world = World::new(seed.wrapping_add(round));
        for _ in 0..400 {
            world.step();
        }
        // Then nothing more is asked, and time alone ends what is left.
        for _ in 0..2000 {
            world.pass_time();
            world.collect();
        }
        for caller in &world.callers {
            let jobs = (caller.keys.end - caller.keys.start) as usize;
            assert_eq!(caller.answered.len(), jobs, "round {round}");
        }
        assert!(world.ledger.is_idle(), "round {round}");
        assert!(world.ledger.waiting.is_empty() && world.ledger.resting.is_empty());
        assert!(world.ledger.deadlines.is_empty());
    }
}

#[test]
fn no_job_is_sent_more_often_than_the_retry_rule_allows() {
    let seed = seed();
    for round in 0..20 {
        let mut world = World::new(seed.wrapping_add(round));
        // Few enough that a byte tells the jobs apart.
        while world.next_key < 200 {
            world.submit();
        }
        for _ in 0..3000 {
            match world.dice.roll(8) {
                0 => world.connect(),
                1 if world.dice.roll(8) == 0 => {
                    let (status, reason) = (None, String::new());
                    world.lose(ClientError::Closed { status, reason });
                }
                2 => world.pass_time(),
                _ => world.answer(),
            }
            if world.is_connected {
                world.ledger.fill(&mut world.out, world.now);
                world.read_out();
            }
        }
        let most = world.sendings.values().max();
        assert!(most <= Some(&(RETRY.attempts + 1)), "{most:?}");
    }
}

proptest! {
    #[test]
    fn no_frame_of_a_daemon_breaks_the_ledger(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut world = World::new(1);
        world.submit();
        world.connect();
        world.ledger.fill(&mut world.out, world.now);
        let mut input = BytesMut::from(&bytes[..]);
        while let Ok(Some(frame)) = Codec.decode(&mut input) {
            if world.ledger.receive(frame, world.now, &mut world.out).is_err() {
                break;
            }
        }
    }
}
