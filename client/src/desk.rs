//! Where handles and the link meet: the channels between them, and the ledger.

use std::ops::Range;
use std::sync::Weak;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hasher_wire::Topics;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::ledger::{Key, Ledger, OUT_BYTES_MAX, Work};

/// Commands on their way to the link. A digest stream's chunks travel here, so
/// this many times 60 KiB may wait.
pub(crate) const COMMANDS_MAX: usize = 32;

/// Time to sleep when nothing is due; waking once more is harmless.
const NOTHING_DUE: Duration = Duration::from_secs(3600);

/// What handles ask of the link.
pub(crate) enum Command {
    /// Requests with keys from `first` on.
    Submit {
        first: Key,
        works: Vec<Work>,
        deadline: Instant,
    },
    /// Bytes of a digest stream.
    Chunk { key: Key, data: Bytes },
    /// The end of a digest stream.
    Finish { key: Key, deadline: Instant },
    /// Events are wanted.
    Subscribe {
        key: Key,
        topics: Topics,
        /// Dead when the subscription was dropped before this arrived.
        life: Weak<()>,
    },
    /// Say Goodbye, end, and tell.
    Close { done: oneshot::Sender<()> },
}

/// The callers are done; perhaps one of them waits to hear that it is over.
pub(crate) struct End(Option<oneshot::Sender<()>>);

impl End {
    pub(crate) fn tell(self) {
        if let Some(done) = self.0 {
            // Whoever closed may have stopped waiting.
            _ = done.send(());
        }
    }
}

pub(crate) struct Desk {
    pub(crate) ledger: Ledger,
    pub(crate) commands: mpsc::Receiver<Command>,
    /// Unbounded because a drop cannot wait. It holds at most one message for each
    /// ticket, stream or subscription, and those came through `commands`.
    pub(crate) cancels: mpsc::UnboundedReceiver<Range<Key>>,
}

/// Something for [`Desk::take`].
pub(crate) enum News {
    /// A command; nothing when every handle has gone.
    Command(Option<Command>),
    /// Nobody waits for these any more.
    Cancel(Range<Key>),
    /// Something is due.
    Time,
}

impl Desk {
    /// The next thing that callers do or that time brings. Commands are left alone
    /// while `is_full` or the ledger has no room. Cancel-safe.
    pub(crate) async fn wait(&mut self, is_full: bool) -> News {
        let wake = self.ledger.next_wake();
        let wake = wake.unwrap_or_else(|| Instant::now() + NOTHING_DUE);
        tokio::select! {
            command = self.commands.recv(), if !is_full && self.ledger.has_room() => {
                News::Command(command)
            }
            Some(keys) = self.cancels.recv() => News::Cancel(keys),
            () = sleep_until(wake) => News::Time,
        }
    }

    /// Does it, and what else has come meanwhile. Frames for the daemon go to `out`.
    /// `Some` when the callers are done.
    pub(crate) fn take(&mut self, news: News, out: &mut BytesMut) -> Option<End> {
        match news {
            News::Command(command) => self.take_commands(command, out),
            News::Cancel(keys) => {
                self.take_cancels(keys, out);
                None
            }
            // The link ticks in every turn.
            News::Time => None,
        }
    }

    /// Takes this command and the others that wait, as far as there is room.
    fn take_commands(&mut self, first: Option<Command>, out: &mut BytesMut) -> Option<End> {
        let mut next = first;
        loop {
            match next {
                None => return Some(End(None)),
                Some(Command::Close { done }) => return Some(End(Some(done))),
                Some(Command::Submit {
                    first,
                    works,
                    deadline,
                }) => {
                    for (key, work) in (first..).zip(works) {
                        self.ledger.submit(key, work, deadline);
                    }
                }
                Some(Command::Chunk { key, data }) => self.ledger.chunk(key, data, out),
                Some(Command::Finish { key, deadline }) => self.ledger.finish(key, deadline, out),
                Some(Command::Subscribe { key, topics, life }) => {
                    if life.strong_count() > 0 {
                        self.ledger.subscribe(key, topics, out);
                    }
                }
            }
            if out.len() >= OUT_BYTES_MAX || !self.ledger.has_room() {
                return None;
            }
            next = Some(self.commands.try_recv().ok()?);
        }
    }

    fn take_cancels(&mut self, first: Range<Key>, out: &mut BytesMut) {
        let now = Instant::now();
        self.ledger.cancel(first, now, out);
        while let Ok(keys) = self.cancels.try_recv() {
            self.ledger.cancel(keys, now, out);
        }
    }
}
