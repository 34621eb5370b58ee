//! The servers under test, each a process of its own on a private socket.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::load::PATIENCE;

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
