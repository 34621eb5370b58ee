//! A terminal of the test's own, and a program on it.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "only tests call these functions")]

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

/// Longest wait for the program to write something or to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A program and the terminal that it sees.
pub struct Terminal {
    ours: File,
    theirs: File,
    output: Receiver<Vec<u8>>,
    /// Everything that it has written.
    pub screen: String,
    /// Up to where that was waited for.
    seen: usize,
    /// The program.
    pub child: Child,
}

impl Terminal {
    /// Starts a program on a terminal of 80 by 24.
    pub fn start(command: &mut Command) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let size = Winsize {
            ws_row: 24,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&ours, size).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let name = name.to_str().unwrap().to_owned();
        let theirs = File::options().read(true).write(true).open(name).unwrap();
        let side = || Stdio::from(theirs.try_clone().unwrap());
        let child = command
            .env("TERM", "xterm")
            .env("LC_ALL", "C.UTF-8")
            .env("NO_COLOR", "1")
            .stdin(side())
            .stdout(side())
            .stderr(side())
            .spawn()
            .unwrap();
        let ours = File::from(ours);
        let output = read(ours.try_clone().unwrap());
        Self {
            ours,
            theirs,
            output,
            screen: String::new(),
            seen: 0,
            child,
        }
    }

    /// Types.
    pub fn write(&mut self, keys: &str) {
        self.ours.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until this was written behind what was waited for before.
    pub fn wait_for(&mut self, text: &str) {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.screen[self.seen..].find(text) {
                self.seen += at + text.len();
                return;
            }
            let left = until.saturating_duration_since(Instant::now());
            let Ok(chunk) = self.output.recv_timeout(left) else {
                panic!("no {text:?} in {:?}", &self.screen[self.seen..]);
            };
            self.screen.push_str(&String::from_utf8_lossy(&chunk));
        }
    }

    /// Waits for the program's end; its exit code.
    pub fn end(&mut self) -> Option<i32> {
        /// Pause without a word, after which all has been read.
        const SILENCE: Duration = Duration::from_millis(100);
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            let status = self.child.try_wait().unwrap();
            while let Ok(chunk) = self.output.recv_timeout(SILENCE) {
                self.screen.push_str(&String::from_utf8_lossy(&chunk));
            }
            if let Some(status) = status {
                return status.code();
            }
        }
        panic!("it does not end: {:?}", self.screen);
    }

    /// Whether the terminal is as a shell expects it: whole lines, with an echo.
    pub fn is_as_before(&self) -> bool {
        let modes = tcgetattr(&self.theirs).unwrap().local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// On a thread, so that waiting has an end.
fn read(mut terminal: File) -> Receiver<Vec<u8>> {
    let (sender, output) = mpsc::channel();
    thread::spawn(move || {
        let mut chunk = [0; 4096];
        while let Ok(count @ 1..) = terminal.read(&mut chunk) {
            if sender.send(chunk[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    output
}
