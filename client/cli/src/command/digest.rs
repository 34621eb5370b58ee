//! `hasher digest`: SHA-256 of files, texts and bytes, on a CPU.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use hasher_client::{ClientError, ComputedBy, blocking};
use hasher_kernel::DigestStream;
use hasher_wire::DigestAlgorithm;
use hasher_work::{Digest, from_hex};
use serde::Serialize;

use super::Context;
use crate::computed_by::{Computer, who};
use crate::daemon;
use crate::error::{CliError, Exit};

/// Print SHA-256 digests, as sha256sum does
///
/// Digests are computed on a CPU, the daemon's by default: mining chips cannot
/// digest a message. Files are streamed, so their size does not matter. Without
/// a file, or with `-`, standard input is read.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hasher digest --local README.md
  tar c folder | hasher digest
  hasher digest --text abc
  hasher digest --double --hex 0100000000")]
pub struct DigestArgs {
    /// Files to digest; `-` is standard input
    #[arg(value_name = "FILE", conflicts_with_all = ["text", "hex"])]
    files: Vec<PathBuf>,
    /// Digest this text instead
    #[arg(long, value_name = "TEXT", conflicts_with = "hex")]
    text: Option<String>,
    /// Digest these bytes instead
    #[arg(long, value_name = "HEX")]
    hex: Option<String>,
    /// Digest the digest once more, as Bitcoin does
    #[arg(long)]
    double: bool,
    /// Compute here instead of asking the daemon
    #[arg(long)]
    local: bool,
}

/// The JSON answer.
#[derive(Serialize)]
struct Report {
    schema: &'static str,
    algorithm: &'static str,
    digests: Vec<DigestReport>,
    computed_by: Vec<Computer>,
}

#[derive(Serialize)]
struct DigestReport {
    /// The file; `-` for standard input; absent for `--text` and `--hex`.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    bytes: u64,
    digest: String,
}

/// Bytes read from a file at a time.
const PIECE_BYTES: usize = 64 * 1024;

/// Digests everything in order and prints each digest as it is known.
///
/// # Errors
/// The first input that cannot be read, or no daemon.
pub fn run(args: &DigestArgs, context: &Context) -> Result<Exit, CliError> {
    let inputs = inputs(args)?;
    let mut worker = if args.local {
        Worker::Local
    } else {
        Worker::Daemon(daemon::connect(context.socket.as_deref(), None)?)
    };
    let mut report = Report {
        schema: "hasher.digest/1",
        algorithm: if args.double { "sha256d" } else { "sha256" },
        digests: Vec::new(),
        computed_by: Vec::new(),
    };
    let mut told = Vec::new();
    for input in inputs {
        let done = worker.digest(&input, args.double)?;
        context.output.line(sum_line(&done.digest, input.name()))?;
        report.digests.push(DigestReport {
            name: input.name().map(str::to_owned),
            bytes: done.bytes,
            digest: done.digest.to_hex(),
        });
        if !told.contains(&done.by) {
            report.computed_by.push(Computer::from(&done.by));
            told.push(done.by);
        }
    }
    context.output.report(&report)?;
    context.output.note(format!("computed by {}", who(&told)));
    Ok(Exit::Done)
}

/// One thing to digest.
enum Input {
    Bytes(Vec<u8>),
    Stdin,
    File(PathBuf, String),
}

impl Input {
    fn name(&self) -> Option<&str> {
        match self {
            Self::Bytes(_) => None,
            Self::Stdin => Some("-"),
            Self::File(_, name) => Some(name),
        }
    }
}

fn inputs(args: &DigestArgs) -> Result<Vec<Input>, CliError> {
    if let Some(text) = &args.text {
        return Ok(vec![Input::Bytes(text.clone().into_bytes())]);
    }
    if let Some(hex) = &args.hex {
        let bytes = from_hex(hex).map_err(|error| {
            CliError::usage(format!("cannot read --hex: {error}"))
                .hint("write two hexadecimal digits a byte, without spaces")
        })?;
        return Ok(vec![Input::Bytes(bytes)]);
    }
    if args.files.is_empty() {
        return Ok(vec![Input::Stdin]);
    }
    Ok(args
        .files
        .iter()
        .map(|path| match path.as_os_str() == "-" {
            true => Input::Stdin,
            false => Input::File(path.clone(), path.display().to_string()),
        })
        .collect())
}

/// Whoever digests.
enum Worker {
    Local,
    Daemon(blocking::Client),
}

/// A digest and where it comes from.
struct Done {
    digest: Digest,
    bytes: u64,
    by: ComputedBy,
}

impl Worker {
    fn digest(&mut self, input: &Input, double: bool) -> Result<Done, CliError> {
        match input {
            Input::Bytes(bytes) => self.stream(&mut bytes.as_slice(), "the bytes", double),
            Input::Stdin => self.stream(&mut io::stdin(), "standard input", double),
            Input::File(path, name) => self.stream(&mut open(path)?, name, double),
        }
    }

    fn stream(
        &mut self,
        input: &mut (dyn Read + Send),
        name: &str,
        double: bool,
    ) -> Result<Done, CliError> {
        match self {
            Self::Local => local_digest(input, name, double),
            Self::Daemon(client) => {
                let algorithm = if double {
                    DigestAlgorithm::Sha256d
                } else {
                    DigestAlgorithm::Sha256
                };
                let answer =
                    client
                        .digest_stream(algorithm, input)
                        .map_err(|error| match &error {
                            ClientError::Read(reason) => unreadable(name, reason),
                            _ => error.into(),
                        })?;
                Ok(Done {
                    digest: answer.digest,
                    bytes: answer.length,
                    by: answer.by,
                })
            }
        }
    }
}

fn open(path: &Path) -> Result<File, CliError> {
    let fail = |error: &io::Error| CliError::io(format_args!("read {}", path.display()), error);
    let file = File::open(path)
        .map_err(|error| fail(&error).hint("check the name; `-` reads standard input"))?;
    // Opening a directory succeeds; reading it would fail halfway.
    match file.metadata() {
        Ok(meta) if meta.is_dir() => Err(fail(&io::ErrorKind::IsADirectory.into())
            .hint("give the files in it, or pipe `tar c` of it into `hasher digest`")),
        _ => Ok(file),
    }
}

fn unreadable(name: &str, error: &io::Error) -> CliError {
    CliError::io(format_args!("read {name}"), error)
}

fn local_digest(input: &mut dyn Read, name: &str, double: bool) -> Result<Done, CliError> {
    let mut stream = DigestStream::new();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let read = match input.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(unreadable(name, &error)),
        };
        stream.update(&piece[..read]);
    }
    Ok(Done {
        bytes: stream.length(),
        digest: if double {
            stream.double_digest()
        } else {
            stream.digest()
        },
        by: ComputedBy::local(),
    })
}

/// A line as sha256sum prints it, with its escapes for odd file names.
fn sum_line(digest: &Digest, name: Option<&str>) -> String {
    let name = name.unwrap_or("-");
    if name.contains(['\\', '\n', '\r']) {
        let name = name
            .replace('\\', "\\\\")
            .replace('\n', "\\n")
            .replace('\r', "\\r");
        return format!("\\{digest}  {name}");
    }
    format!("{digest}  {name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_digests_equal_the_library() {
        let data: Vec<u8> = (0..200_000u32).map(|i| i as u8).collect();
        let done = local_digest(&mut data.as_slice(), "x", false).unwrap();
        assert_eq!(done.digest, hasher_work::digest(&data));
        assert_eq!(done.bytes, 200_000);
        let done = local_digest(&mut data.as_slice(), "x", true).unwrap();
        assert_eq!(done.digest, hasher_work::double_digest(&data));
    }

    #[test]
    fn odd_file_names_are_escaped_as_sha256sum_does() {
        let digest = Digest([0; 32]);
        let zeros = "0".repeat(64);
        assert_eq!(sum_line(&digest, Some("a b")), format!("{zeros}  a b"));
        assert_eq!(
            sum_line(&digest, Some("a\nb\\")),
            format!("\\{zeros}  a\\nb\\\\")
        );
        assert_eq!(sum_line(&digest, None), format!("{zeros}  -"));
    }
}
