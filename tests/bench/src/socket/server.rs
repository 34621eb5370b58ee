//! The servers under test, each a process of its own on a private socket.

use std::fs;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::io::Errno;
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};

use super::load::{PATIENCE, Shown};

/// A running server. Dropping it kills it; if this program is killed, the server's
/// standard input ends, and so does the server.
#[derive(Debug)]
pub struct Server {
    child: Child,
    socket: PathBuf,
}

impl Server {
    /// Starts `command`, which is told to serve on `socket`, and waits until it does.
    pub fn start(mut command: Command, socket: PathBuf) -> anyhow::Result<Self> {
        let program = command.get_program().to_owned();
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let mut server = Self { child, socket };
        let begin = Instant::now();
        while UnixStream::connect(&server.socket).is_err() {
            if let Some(status) = server.child.try_wait()? {
                bail!("{} ended with {status}", program.display());
            }
            if begin.elapsed() > PATIENCE {
                bail!("{} serves nobody", program.display());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(server)
    }

    /// Where it serves.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What `turn` shows, and what this server's processor time was meanwhile.
    pub fn watch(&self, turn: impl FnOnce() -> anyhow::Result<Shown>) -> anyhow::Result<Shown> {
        let before = self.processor_ns()?;
        let mut shown = turn()?;
        let after = self.processor_ns()?;
        shown.server_ns = Some(after.saturating_sub(before) as f64 / shown.jobs as f64);
        Ok(shown)
    }

    /// Moves all its threads to some processors; those that it starts later follow.
    pub fn move_to(&self, processors: &CpuSet) -> anyhow::Result<()> {
        for thread in self.threads()? {
            let number = thread?.file_name();
            let number = number.to_str().context("a thread without a number")?;
            // One that has ended since needs no processor.
            match sched_setaffinity(Pid::from_raw(number.parse()?), processors) {
                Err(Errno::SRCH) => {}
                moved => moved?,
            }
        }
        Ok(())
    }

    fn threads(&self) -> io::Result<fs::ReadDir> {
        fs::read_dir(format!("/proc/{}/task", self.child.id()))
    }

    /// Processor time of all its threads, in nanoseconds.
    fn processor_ns(&self) -> anyhow::Result<u64> {
        let mut sum = 0;
        for thread in self.threads()? {
            let times = match fs::read_to_string(thread?.path().join("schedstat")) {
                // It has ended since.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                times => times?,
            };
            let running = times.split(' ').next().context("no time")?;
            sum += running.parse::<u64>()?;
        }
        Ok(sum)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only for a process that has ended.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Ends this process when standard input does.
pub fn end_with_stdin() -> io::Result<()> {
    let watch = || {
        let mut byte = [0];
        while let Ok(1) = io::stdin().read(&mut byte) {}
        std::process::exit(0);
    };
    thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(watch)?;
    Ok(())
}
