//! On which processors the two sides of a comparison run.
//!
//! The processors of a shared machine are seldom equally fast: neighbours press on one and
//! not on the other. Where a server is compared with hashing in this program, that hashing
//! and the server run on the same processor, and the server's client on another one.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::server::Server;

/// Processors for servers and for clients; with only one, both have that.
#[derive(Debug)]
pub struct Processors {
    all: CpuSet,
    servers: CpuSet,
    clients: CpuSet,
}

impl Processors {
    /// Of those that this thread may use, and moves the servers to theirs.
    pub fn divide(servers: &[&Server]) -> anyhow::Result<Self> {
        let all = sched_getaffinity(None)?;
        let mut processors = (0..CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu));
        let (first, second) = (processors.next(), processors.next());
        let only = |cpu: Option<usize>| {
            let mut set = CpuSet::new();
            cpu.inspect(|cpu| set.set(*cpu));
            set
        };
        let divided = Self {
            all,
            servers: only(first),
            clients: only(second.or(first)),
        };
        for server in servers {
            server.move_to(&divided.servers)?;
        }
        Ok(divided)
    }

    /// Moves this thread to the servers.
    pub fn be_server(&self) -> anyhow::Result<()> {
        Ok(sched_setaffinity(None, &self.servers)?)
    }

    /// Moves this thread away from the servers.
    pub fn be_client(&self) -> anyhow::Result<()> {
        Ok(sched_setaffinity(None, &self.clients)?)
    }
}

impl Drop for Processors {
    fn drop(&mut self) {
        // What could be used before can be used again; if not, the figures that follow say so.
        _ = sched_setaffinity(None, &self.all);
    }
}
