//! Where sweeps are hashed: at once, or on a thread of their own.
//!
//! Owns the sweeper thread and its two bounded channels. It never looks at the board
//! beyond its requests. The thread keeps hashing off the async runtime; the inline
//! way exists for runs that must repeat exactly. Called by [`super::transport`].

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc as std_mpsc};
use std::task::{Context, Poll};
use std::thread::JoinHandle;

use tokio::sync::mpsc;

use super::board::Board;
use super::book::Book;
use super::image::CHAINS;
use super::sweep::{Find, Sweep};
use crate::DriverError;

/// Sweeps on their way to the thread: those of one tick, and as many that a flush has
/// made worthless and that the thread has not yet thrown away.
const ORDERS: usize = 2 * CHAINS;

/// Where the simulated chips' hashing is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Hashing {
    /// On a thread of its own; when it cannot keep the chips' pace, device time slows.
    #[default]
    Thread,
    /// Within the poll that lets time pass. Under a paused clock every run is then
    /// exactly repeatable; in real time it blocks the runtime while it hashes.
    Inline,
}

/// An answer of the thread: finds, or nothing when the sweep was given up.
type Answer = (u64, Option<Vec<Find>>);

/// Does sweeps.
#[derive(Debug)]
pub(super) struct Sweeper {
    book: Arc<Book>,
    thread: Option<Thread>,
}

#[derive(Debug)]
struct Thread {
    orders: Option<std_mpsc::SyncSender<Sweep>>,
    /// Orders that found the channel full; at most those of one tick.
    waiting: VecDeque<Sweep>,
    answers: mpsc::Receiver<Answer>,
    /// Sweeps with a lower ticket are worthless.
    oldest_wanted: Arc<AtomicU64>,
    handle: Option<JoinHandle<()>>,
}

impl Sweeper {
    /// # Errors
    /// [`DriverError::Io`] when the system starts no thread.
    pub(super) fn new(hashing: Hashing, book: Arc<Book>) -> Result<Self, DriverError> {
        let thread = match hashing {
            Hashing::Inline => None,
            Hashing::Thread => Some(Thread::start(Arc::clone(&book))?),
        };
        Ok(Self { book, thread })
    }

    pub(super) const fn is_inline(&self) -> bool {
        self.thread.is_none()
    }

    /// Takes the board's requests and brings back what is done; whether anything was,
    /// so that the device's time may go on.
    ///
    /// With a context the thread's next answer wakes the task.
    pub(super) fn serve(&mut self, board: &mut Board, cx: Option<&mut Context<'_>>) -> bool {
        match &mut self.thread {
            Some(thread) => thread.serve(board, cx),
            None => {
                let mut any = false;
                while let Some(sweep) = board.take_wanted() {
                    let finds = sweep.run(&self.book, || true).unwrap_or_default();
                    board.swept(sweep.ticket, &finds);
                    any = true;
                }
                any
            }
        }
    }
}

impl Thread {
    fn start(book: Arc<Book>) -> Result<Self, DriverError> {
        let (orders, order_queue) = std_mpsc::sync_channel(ORDERS);
        let (answers_out, answers) = mpsc::channel(ORDERS);
        let oldest_wanted = Arc::new(AtomicU64::new(0));
        let oldest = Arc::clone(&oldest_wanted);
        let handle = std::thread::Builder::new()
            .name("sim-sweep".to_owned())
            .spawn(move || run(&order_queue, &answers_out, &oldest, &book))
            .map_err(|source| DriverError::Io {
                operation: "starting the sweeper thread of a simulated board",
                source,
            })?;
        Ok(Self {
            orders: Some(orders),
            waiting: VecDeque::with_capacity(CHAINS),
            answers,
            oldest_wanted,
            handle: Some(handle),
        })
    }

    fn serve(&mut self, board: &mut Board, mut cx: Option<&mut Context<'_>>) -> bool {
        let mut any = false;
        loop {
            self.give(board);
            let answer = match &mut cx {
                Some(cx) => match self.answers.poll_recv(cx) {
                    Poll::Ready(answer) => answer,
                    Poll::Pending => None,
                },
                None => self.answers.try_recv().ok(),
            };
            // Ends: as many answers come as orders went, and a tick's orders go once.
            let Some((ticket, finds)) = answer else {
                return any;
            };
            if let Some(finds) = finds {
                board.swept(ticket, &finds);
                any = true;
            }
        }
    }

    fn give(&mut self, board: &mut Board) {
        let oldest = board.oldest_wanted();
        self.oldest_wanted.store(oldest, Ordering::Relaxed);
        self.waiting.retain(|sweep| sweep.ticket >= oldest);
        while let Some(sweep) = board.take_wanted() {
            self.waiting.push_back(sweep);
        }
        while let (Some(orders), Some(sweep)) = (&self.orders, self.waiting.front())
            && orders.try_send(*sweep).is_ok()
        {
            self.waiting.pop_front();
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.oldest_wanted.store(u64::MAX, Ordering::Relaxed);
        self.orders = None;
        self.answers.close();
        if let Some(handle) = self.handle.take() {
            // Ends within a slice of hashing. A panic there has already been printed.
            let _ = handle.join();
        }
    }
}

fn run(
    orders: &std_mpsc::Receiver<Sweep>,
    answers: &mpsc::Sender<Answer>,
    oldest_wanted: &AtomicU64,
    book: &Book,
) {
    while let Ok(sweep) = orders.recv() {
        let finds = sweep.run(book, || {
            sweep.ticket >= oldest_wanted.load(Ordering::Relaxed)
        });
        if answers.blocking_send((sweep.ticket, finds)).is_err() {
            return;
        }
    }
}
