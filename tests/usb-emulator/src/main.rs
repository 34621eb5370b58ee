//! `hasher-usb-emulator`: see the library's front page and `README.md`.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use hasher_usb_emulator::control::{self, Boards};
use hasher_usb_emulator::simulated::make_board;
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};

const USAGE: &str = "\
usage: hasher-usb-emulator serve SOCKET [COMMAND...]
       hasher-usb-emulator send SOCKET COMMAND...

serve  plugs simulated boards into the kernel's virtual USB host controller
       (root; modprobe vhci-hcd), listens on SOCKET, and carries out each COMMAND
       first, such as: serve /run/emulator 'add a 0 sim:s3' 'plug a'
send   sends commands to a running emulator and prints the answers

Commands:
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["serve", socket, ref commands @ ..] => serve(Path::new(socket), commands),
        ["send", socket, ref commands @ ..] if !commands.is_empty() => {
            send(Path::new(socket), commands)
        }
        ["--help" | "-h" | "help"] => {
            println!("{USAGE}{}", control::HELP);
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("{USAGE}{}", control::HELP);
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn serve(path: &Path, commands: &[&str]) -> anyhow::Result<()> {
    // A socket left by an emulator that was killed; a running one is not disturbed,
    // it only becomes unreachable.
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(error).with_context(|| format!("cannot replace {}", path.display()));
    }
    let listener =
        UnixListener::bind(path).with_context(|| format!("cannot listen on {}", path.display()))?;
    let boards = Arc::new(Boards::new(make_board));
    for command in commands {
        if let Err(error) = boards.execute(command).await {
            bail!("{command}: {error}");
        }
    }
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    tokio::select! {
        result = control::listen(boards, listener) => result.context("control socket failed")?,
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    std::fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))
}

fn send(path: &Path, commands: &[&str]) -> anyhow::Result<()> {
    let mut socket = std::os::unix::net::UnixStream::connect(path)
        .with_context(|| format!("cannot connect to {}", path.display()))?;
    let mut answers = BufReader::new(socket.try_clone()?).lines();
    for command in commands {
        writeln!(socket, "{command}")?;
        loop {
            let line = answers.next().context("emulator closed the connection")??;
            match line.strip_prefix("error: ") {
                Some(error) => bail!("{command}: {error}"),
                None if line == "ok" => break,
                None => println!("{line}"),
            }
        }
    }
    Ok(())
}
