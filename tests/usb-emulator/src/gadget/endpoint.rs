//! The two endpoint files of a configured gadget, a thread each.
//!
//! Owns the threads, because the files only know blocking calls, and how they are got
//! out of the kernel again. What the bytes mean is not known here; [`super::wire`]
//! gives the jobs.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::thread::JoinHandleExt;
use std::sync::mpsc as blocking;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use nix::sys::pthread::pthread_kill;
use nix::sys::signal::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::{GadgetError, GadgetPort};
use crate::descriptors::{PACKET_BYTES, Program};
use crate::usbip::Direction;

/// News of the two endpoint threads that may wait; each has at most one.
const MAX_NEWS: usize = 2;

/// Ends the blocking call of an endpoint thread.
const INTERRUPT: Signal = Signal::SIGUSR1;

/// How often a thread is interrupted before it is given up; each time costs
/// [`INTERRUPT_EVERY`], and one or two times suffice.
const INTERRUPTS: u32 = 200;

/// Pause after an interrupt.
const INTERRUPT_EVERY: Duration = Duration::from_millis(1);

/// Makes the interrupting signal harmless to this program, once and for good. Must be
/// called within a tokio runtime.
///
/// # Errors
/// If the system refuses a signal handler.
pub(super) fn prepare_interrupts() -> io::Result<()> {
    signal(SignalKind::from_raw(INTERRUPT as i32)).map(drop)
}

/// What an endpoint thread does next.
#[derive(Debug)]
pub(super) enum Job {
    /// IN: sends these bytes.
    Send(Bytes),
    /// OUT: waits for the next transfer.
    Receive,
    /// Makes the endpoint stall until the host clears it.
    Halt,
}

/// What an endpoint thread did.
#[derive(Debug)]
pub(super) enum News {
    Sent,
    Received(Bytes),
    Halted(Direction),
}

/// The endpoints of a configured device. Dropping it ends their threads.
#[derive(Debug)]
pub(super) struct Endpoints {
    input: Endpoint,
    output: Endpoint,
    news: mpsc::Receiver<News>,
}

impl Endpoints {
    /// Enables both endpoints; the first OUT packet is welcome.
    pub(super) fn open(port: &GadgetPort, program: Program) -> Result<Self, GadgetError> {
        let (sender, news) = mpsc::channel(MAX_NEWS);
        let input = port.open_endpoint(program, Direction::In)?;
        let output = port.open_endpoint(program, Direction::Out)?;
        let endpoints = Self {
            input: Endpoint::start(input, Direction::In, sender.clone()),
            output: Endpoint::start(output, Direction::Out, sender),
            news,
        };
        endpoints.output.order(Job::Receive);
        Ok(endpoints)
    }

    /// Gives the thread of one direction its next job.
    pub(super) fn order(&self, direction: Direction, job: Job) {
        match direction {
            Direction::In => self.input.order(job),
            Direction::Out => self.output.order(job),
        }
    }

    /// What a thread did; nothing when both ended. Cancel-safe.
    pub(super) async fn news(&mut self) -> Option<News> {
        self.news.recv().await
    }
}

/// One endpoint file and the thread that works on it.
///
/// A thread must be out of the kernel before the control file is closed: closing waits
/// for a lock that a blocked call holds, for ever (seen on Linux 6.1 with `dummy_hcd`,
/// which does not end the call by itself). A signal ends it.
#[derive(Debug)]
struct Endpoint {
    jobs: Option<blocking::Sender<Job>>,
    thread: JoinHandle<()>,
}

impl Endpoint {
    /// The thread ends with its jobs or with its file.
    fn start(file: File, direction: Direction, news: mpsc::Sender<News>) -> Self {
        let (jobs, inbox) = blocking::channel();
        let thread = std::thread::spawn(move || {
            while let Ok(job) = inbox.recv() {
                let Ok(done) = work(&file, direction, job) else {
                    return; // unplugged, or the host is gone, which the control file tells
                };
                if news.blocking_send(done).is_err() {
                    return;
                }
            }
        });
        Self {
            jobs: Some(jobs),
            thread,
        }
    }

    fn order(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            // Fails only if the thread ended, which the control file will explain.
            let _ = jobs.send(job);
        }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.jobs = None;
        for _ in 0..INTERRUPTS {
            if self.thread.is_finished() {
                return;
            }
            // It may just be about to enter the kernel, so one signal may be too early.
            // The handle keeps the thread's number valid.
            let _ = pthread_kill(self.thread.as_pthread_t(), INTERRUPT);
            std::thread::sleep(INTERRUPT_EVERY);
        }
    }
}

fn work(mut file: &File, direction: Direction, job: Job) -> io::Result<News> {
    match job {
        Job::Send(reply) => file.write(&reply).map(|_| News::Sent),
        Job::Receive => {
            // One packet at a time, as the controller takes them: a longer read would
            // wait for a short packet, which the boot loader's frames do not have.
            let mut packet = vec![0; PACKET_BYTES];
            let length = file.read(&mut packet)?;
            packet.truncate(length);
            Ok(News::Received(packet.into()))
        }
        Job::Halt => {
            // A call in the wrong direction is how gadgetfs is told; it always fails.
            let _ = match direction {
                Direction::In => file.read(&mut [0; 1]),
                Direction::Out => file.write(&[0; 1]),
            };
            Ok(News::Halted(direction))
        }
    }
}
