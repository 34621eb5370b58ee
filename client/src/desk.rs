//! Where handles and the link meet: the channels between them, and the ledger.

use std::ops::Range;
use std::sync::Weak;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hasher_wire::Topics;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::ClientError;
use crate::ledger::{Key, Ledger, OUT_BYTES_MAX, Work};

/// Commands on their way to the link. A digest stream's chunks travel here, so
/// this many times 60 KiB may wait.
pub(crate) const COMMANDS_MAX: usize = 32;

/// Groups of requests on their way to the link; the ledger is their real queue.
pub(crate) const REQUESTS_MAX: usize = 32;

/// Time to sleep when nothing is due; waking once more is harmless.
const NOTHING_DUE: Duration = Duration::from_secs(3600);

/// Requests that need a credit of the daemon, with keys from `first` on.
pub(crate) struct Requests {
    pub(crate) first: Key,
    pub(crate) works: Vec<Work>,
    pub(crate) deadline: Instant,
}

/// What handles ask of the link that needs no credit, or has one already.
pub(crate) enum Command {
    /// A request that is free.
    Ask {
        key: Key,
        work: Work,
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
}

/// What callers say without waiting.
pub(crate) enum Notice {
    /// Nobody waits for these any more.
    Cancel(Range<Key>),
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

/// Three channels, because what fills one must not hold up another: a stream that
/// has its credit has to go on when the ledger is full, and a close always.
pub(crate) struct Desk {
    pub(crate) ledger: Ledger,
    /// Read while the ledger has room and the socket takes frames.
    pub(crate) requests: mpsc::Receiver<Requests>,
    /// Read while the socket takes frames. The ledger keeps at most one thing for
    /// each caller that waits for a status or holds a subscription.
    pub(crate) commands: mpsc::Receiver<Command>,
    /// Always read. Unbounded because a drop cannot wait: it holds at most one
    /// message for each handle, ticket, stream, subscription or waiting caller.
    pub(crate) notices: mpsc::UnboundedReceiver<Notice>,
}

/// Something for [`Desk::take`].
pub(crate) enum News {
    Requests(Requests),
    Command(Command),
    /// Nothing when every handle has gone.
    Notice(Option<Notice>),
    /// Something is due.
    Time,
}

impl Desk {
    /// The next thing that callers do or that time brings. Requests and commands are
    /// left alone while `is_full`, requests also while the ledger has no room.
    /// Cancel-safe.
    pub(crate) async fn wait(&mut self, is_full: bool) -> News {
        let wake = self.ledger.next_wake();
        let wake = wake.unwrap_or_else(|| Instant::now() + NOTHING_DUE);
        tokio::select! {
            Some(requests) = self.requests.recv(), if !is_full && self.ledger.has_room() => {
                News::Requests(requests)
            }
            Some(command) = self.commands.recv(), if !is_full => News::Command(command),
            notice = self.notices.recv() => News::Notice(notice),
            () = sleep_until(wake) => News::Time,
        }
    }

    /// Takes no more, and fails everything, also what was on its way when the end
    /// came: a close overtakes commands, and a subscription among them has nobody
    /// else to tell it.
    pub(crate) fn close(&mut self, reason: ClientError) {
        self.requests.close();
        self.commands.close();
        let mut unsent = BytesMut::new();
        while let Ok(command) = self.commands.try_recv() {
            if let Command::Subscribe { key, topics, .. } = command {
                self.ledger.subscribe(key, topics, &mut unsent);
            }
            // Any other command's caller is told by its dropped channel.
        }
        self.ledger.fail_all(reason);
    }

    /// Does it, and what else has come meanwhile. Frames for the daemon go to `out`.
    /// `Some` when the callers are done.
    pub(crate) fn take(&mut self, news: News, out: &mut BytesMut) -> Option<End> {
        match news {
            News::Requests(requests) => self.take_requests(requests),
            News::Command(command) => self.take_commands(command, out),
            News::Notice(notice) => return self.take_notices(notice, out),
            // The link ticks in every turn.
            News::Time => {}
        }
        None
    }

    /// Takes these requests and the others that wait, as far as there is room.
    fn take_requests(&mut self, first: Requests) {
        let mut next = Some(first);
        while let Some(requests) = next {
            for (key, work) in (requests.first..).zip(requests.works) {
                self.ledger.submit(key, work, requests.deadline);
            }
            if !self.ledger.has_room() {
                return;
            }
            next = self.requests.try_recv().ok();
        }
    }

    /// Takes this command and the others that wait, as far as there is room.
    fn take_commands(&mut self, first: Command, out: &mut BytesMut) {
        let mut next = Some(first);
        while let Some(command) = next {
            match command {
                Command::Ask {
                    key,
                    work,
                    deadline,
                } => self.ledger.submit(key, work, deadline),
                Command::Chunk { key, data } => self.ledger.chunk(key, data, out),
                Command::Finish { key, deadline } => self.ledger.finish(key, deadline, out),
                Command::Subscribe { key, topics, life } => {
                    if life.strong_count() > 0 {
                        self.ledger.subscribe(key, topics, out);
                    }
                }
            }
            if out.len() >= OUT_BYTES_MAX {
                return;
            }
            next = self.commands.try_recv().ok();
        }
    }

    /// Takes this notice and the others that wait.
    fn take_notices(&mut self, first: Option<Notice>, out: &mut BytesMut) -> Option<End> {
        let now = Instant::now();
        let mut next = first;
        loop {
            match next {
                None => return Some(End(None)),
                Some(Notice::Close { done }) => return Some(End(Some(done))),
                Some(Notice::Cancel(keys)) => self.ledger.cancel(keys, now, out),
            }
            next = Some(self.notices.try_recv().ok()?);
        }
    }
}
