//! Staying awake for clients that ask again at once.
//!
//! Waking a sleeping thread costs whoever wakes it more than a small request costs the
//! daemon. So when the next request came within a moment of the last one, the I/O thread
//! looks again and again for as long before it sleeps; clients that are slower never keep it
//! awake. All other tasks have their turns meanwhile. Sessions tell what they read; the
//! daemon's life runs the task.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::yield_now;

/// How long a wait may be that is worth staying awake for: a few times what it takes to
/// wake a sleeping thread.
const MOMENT: Duration = Duration::from_micros(30);

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Eager {
    /// Counts, and wraps around.
    reads: AtomicU32,
    /// Since when there was nothing to do, while the task sleeps.
    idle_since: Mutex<Option<Instant>>,
    /// Whether the read that woke the task came within a moment.
    is_quick: AtomicBool,
    woken: Notify,
}

impl Eager {
    /// A session has read something.
    pub(crate) fn note_read(&self) {
        self.reads.fetch_add(1, Relaxed);
        if let Some(since) = self.sleeper().take() {
            self.is_quick.store(since.elapsed() < MOMENT, Relaxed);
            self.woken.notify_one();
        }
    }

    /// Keeps the thread awake while clients are quick.
    pub(crate) async fn run(&self) -> Infallible {
        let mut last = Instant::now();
        loop {
            *self.sleeper() = Some(last);
            self.woken.notified().await;
            // What was read is answered: this task's turn comes behind the session's.
            last = Instant::now();
            if !self.is_quick.load(Relaxed) {
                continue;
            }
            let mut seen = self.reads.load(Relaxed);
            while last.elapsed() < MOMENT {
                yield_now().await;
                let reads = self.reads.load(Relaxed);
                if reads != seen {
                    seen = reads;
                    last = Instant::now();
                }
            }
        }
    }

    fn sleeper(&self) -> MutexGuard<'_, Option<Instant>> {
        self.idle_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::{Context, Wake};

    use super::*;

    /// Far more than enough, however busy the machine is.
    const ATTEMPTS: usize = 10_000;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    /// Gives the task a turn; whether it wants another one at once.
    fn is_awake(task: Pin<&mut impl Future<Output = Infallible>>) -> bool {
        let wakes = Arc::new(Wakes::default());
        let waker = Arc::clone(&wakes).into();
        assert!(task.poll(&mut Context::from_waker(&waker)).is_pending());
        wakes.0.load(Relaxed) > 0
    }

    #[test]
    fn only_a_client_that_asks_at_once_keeps_the_thread_awake() {
        let eager = Eager::default();
        let mut task = pin!(eager.run());
        assert!(!is_awake(task.as_mut()), "nothing was read");
        for _ in 0..3 {
            std::thread::sleep(2 * MOMENT);
            eager.note_read();
            assert!(!is_awake(task.as_mut()), "too late");
        }
        let keeps_awake = |_| {
            eager.note_read();
            is_awake(task.as_mut())
        };
        assert!((0..ATTEMPTS).any(keeps_awake));
        std::thread::sleep(2 * MOMENT);
        assert!(!is_awake(task.as_mut()), "a moment without a read");
    }

    #[test]
    fn it_stays_awake_as_long_as_more_is_read() {
        let eager = Eager::default();
        let mut task = pin!(eager.run());
        assert!(!is_awake(task.as_mut()));
        let stays = |_| {
            eager.note_read();
            let is_quick = is_awake(task.as_mut());
            std::thread::sleep(2 * MOMENT);
            eager.note_read();
            // The read of this turn is a moment's beginning.
            let stays = is_quick && is_awake(task.as_mut());
            std::thread::sleep(2 * MOMENT);
            is_awake(task.as_mut());
            stays
        };
        assert!((0..ATTEMPTS).any(stays));
    }
}
