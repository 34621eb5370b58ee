//! A client that means harm: `hostile-client SOCKET ATTACK SECONDS`.
//!
//! Does one thing that the socket protocol forbids or that no honest program would do, for
//! so many seconds, and says how often. `tests/tests/hostile.rs` lets it loose on a daemon;
//! by hand it is good for watching one with `hasher top`.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use hasher_tests::endless;
use hasher_wire::{
    Codec, DigestAlgorithm, DigestBatch, Frame, Hello, JobRequest, Messages, Priority, RequestId,
    Search, Subscribe, Topics, Version,
};
use hasher_work::{SearchJob, SearchMode, Target};

/// More than a user has places.
const CONNECTIONS: usize = 20;
/// In all, and in a second: a flood that a shell script could make.
const FLOOD_CONNECTIONS: u64 = 10_000;
const FLOOD_PER_SECOND: u64 = 2000;
/// Processes of an attack by many.
const PROCESSES: usize = 40;
/// Jobs of a full Search frame.
const JOBS: usize = hasher_wire::MAX_JOBS;

type Attack = fn(&Path, Instant) -> io::Result<u64>;

const ATTACKS: [(&str, Attack); 9] = [
    ("half-frames", half_frames),
    ("lengths", lengths),
    ("connections", connections),
    ("deaf", deaf),
    ("subscribe", subscribe),
    ("queries", queries),
    ("digests", digests),
    ("endless", endless_jobs),
    ("forks", forks),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let attack = arguments.get(2).and_then(|name| {
        let known = ATTACKS.iter().find(|(known, _)| known == name);
        known.map(|(_, attack)| *attack)
    });
    let seconds = arguments.get(3).and_then(|text| text.parse().ok());
    let (Some(attack), Some(seconds)) = (attack, seconds) else {
        let names: Vec<_> = ATTACKS.iter().map(|(name, _)| *name).collect();
        eprintln!("usage: hostile-client SOCKET ATTACK SECONDS");
        eprintln!("  attacks: {}", names.join(", "));
        return ExitCode::from(2);
    };
    let until = Instant::now() + Duration::from_secs(seconds);
    match attack(&PathBuf::from(&arguments[1]), until) {
        Ok(times) => {
            println!("{} {times} times", arguments[2]);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {}: {error}", arguments[2]);
            ExitCode::FAILURE
        }
    }
}

fn bytes_of(frame: &Frame) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    Codec.encode(frame, &mut bytes).expect("the frame is legal");
    bytes.to_vec()
}

fn hello() -> Vec<u8> {
    bytes_of(&Frame::Hello(Hello {
        min: Version::OLDEST,
        max: Version::NEWEST,
        name: "hostile".into(),
    }))
}

/// A full frame of one job many times.
fn search(request: u32, job: SearchJob) -> Vec<u8> {
    let job = JobRequest {
        job,
        deadline_ms: 0,
        priority: Priority::Interactive,
    };
    bytes_of(&Frame::Search(Search {
        request: RequestId(request),
        jobs: vec![job; JOBS],
    }))
}

/// Runs an attack on several connections at once, each again and again until the time is
/// over; what a connection is cut off with is no error here.
fn on_connections(
    socket: &Path,
    until: Instant,
    attack: impl Fn(UnixStream, Instant) -> io::Result<u64> + Sync,
) -> io::Result<u64> {
    let once = |socket: &Path| -> io::Result<u64> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_millis(200)))?;
        stream.set_write_timeout(Some(Duration::from_millis(200)))?;
        attack(stream, until)
    };
    let again = || {
        let mut times = 0;
        while Instant::now() < until {
            match once(socket) {
                Ok(more) => times += more,
                // There is no place, or the daemon had enough.
                Err(_) => thread::sleep(Duration::from_millis(200)),
            }
        }
        times
    };
    let times = thread::scope(|scope| {
        let attacks: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(again)).collect();
        attacks
            .into_iter()
            .map(|attack| attack.join().unwrap_or(0))
            .sum()
    });
    Ok(times)
}

/// Keeps the connection open until the time is over.
fn hold(until: Instant) {
    thread::sleep(until.saturating_duration_since(Instant::now()));
}

/// A frame that never ends.
fn half_frames(socket: &Path, until: Instant) -> io::Result<u64> {
    on_connections(socket, until, |mut stream, until| {
        stream.write_all(&hello())?;
        let frame = search(1, endless());
        stream.write_all(&frame[..frame.len() / 2])?;
        hold(until);
        Ok(1)
    })
}

/// A frame of 4 GiB, before and after Hello.
fn lengths(socket: &Path, until: Instant) -> io::Result<u64> {
    on_connections(socket, until, |mut stream, _| {
        stream.write_all(&hello())?;
        stream.write_all(&[0xff; 16])?;
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest); // it is cut off
        Ok(1)
    })
}

/// Many connections that say nothing, held as long as the daemon holds them.
fn connections(socket: &Path, until: Instant) -> io::Result<u64> {
    let begin = Instant::now();
    let mut held = Vec::new();
    let mut made = 0;
    while made < FLOOD_CONNECTIONS && Instant::now() < until {
        if made >= begin.elapsed().as_millis() as u64 * FLOOD_PER_SECOND / 1000 {
            thread::sleep(Duration::from_millis(1));
            continue;
        }
        let stream = UnixStream::connect(socket)?;
        made += 1;
        stream.set_nonblocking(true)?;
        held.push(stream);
        // Those that the daemon turned away only use our own descriptors up.
        if held.len() > 500 {
            held.retain(|mut stream| {
                let read = stream.read(&mut [0; 256]);
                matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
            });
        }
    }
    hold(until);
    Ok(made)
}

/// Asks for answers as long as they come and never reads one.
fn deaf(socket: &Path, until: Instant) -> io::Result<u64> {
    on_connections(socket, until, |mut stream, until| {
        stream.write_all(&hello())?;
        // Every nonce that the chips report is a hit: the longest answers.
        let job = SearchJob {
            target: Target::from_zero_bits(0).expect("a target has 256 bits"),
            mode: SearchMode::FirstFound(SearchJob::MAX_HITS),
            rolls: SearchJob::MAX_ROLLS,
            ..endless()
        };
        stream.write_all(&search(1, job))?;
        let mut asked = 0;
        while stream
            .write_all(&bytes_of(&Frame::StatusQuery(RequestId(2))))
            .is_ok()
        {
            asked += 1;
        }
        hold(until);
        Ok(asked)
    })
}

/// Sends one frame as fast as it is taken and throws the answers away.
fn flood(socket: &Path, until: Instant, frame: &Frame) -> io::Result<u64> {
    let frames = bytes_of(frame).repeat(64);
    on_connections(socket, until, |mut stream, until| {
        stream.write_all(&hello())?;
        let mut reader = stream.try_clone()?;
        let reading = thread::spawn(move || {
            let mut buffer = vec![0; 256 * 1024];
            loop {
                match reader.read(&mut buffer) {
                    Ok(0) => return,
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => return,
                }
            }
        });
        let mut sent = 0;
        while Instant::now() < until {
            // What was written in part is completed, or the daemon would hang up.
            let mut rest = &frames[..];
            while !rest.is_empty() {
                match stream.write(rest) {
                    Ok(written) => rest = &rest[written..],
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
            sent += 64;
        }
        let _ = stream.shutdown(std::net::Shutdown::Both);
        let _ = reading.join();
        Ok(sent)
    })
}

/// Subscribes to everything, again and again.
fn subscribe(socket: &Path, until: Instant) -> io::Result<u64> {
    let topics = Topics::ALL;
    flood(socket, until, &Frame::Subscribe(Subscribe { topics }))
}

/// Asks for the longest document, again and again.
fn queries(socket: &Path, until: Instant) -> io::Result<u64> {
    flood(socket, until, &Frame::StatusQuery(RequestId(1)))
}

/// Has the daemon's processor digest all the time.
fn digests(socket: &Path, until: Instant) -> io::Result<u64> {
    on_connections(socket, until, |mut stream, until| {
        stream.write_all(&hello())?;
        let batch = bytes_of(&Frame::DigestBatch(DigestBatch {
            request: RequestId(1),
            algorithm: DigestAlgorithm::Sha256d,
            messages: Messages::new([[7; 60]; 900]).map_err(io::Error::other)?,
        }));
        let mut answers = vec![0; 256 * 1024];
        let mut sent = 0;
        while Instant::now() < until {
            stream.write_all(&batch)?;
            sent += 1;
            // One at a time: a number names one unanswered request.
            let mut left = 900 * 32;
            while left > 0 {
                left -= left.min(stream.read(&mut answers)?);
            }
        }
        Ok(sent)
    })
}

/// Fills every queue with jobs that never end.
fn endless_jobs(socket: &Path, until: Instant) -> io::Result<u64> {
    on_connections(socket, until, |mut stream, until| {
        stream.write_all(&hello())?;
        stream.write_all(&search(1, endless()))?;
        let mut buffer = vec![0; 64 * 1024];
        while Instant::now() < until {
            match stream.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(JOBS as u64)
    })
}

/// The same from many processes.
fn forks(socket: &Path, until: Instant) -> io::Result<u64> {
    let seconds = until
        .saturating_duration_since(Instant::now())
        .as_secs()
        .max(1);
    let program = std::env::current_exe()?;
    let spawn = || {
        Command::new(&program)
            .arg(socket)
            .args(["endless", &seconds.to_string()])
            .stdout(std::process::Stdio::null())
            .spawn()
    };
    let children: Vec<_> = (0..PROCESSES).map(|_| spawn()).collect::<Result<_, _>>()?;
    let started = children.len() as u64;
    for mut child in children {
        child.wait()?;
    }
    Ok(started)
}
