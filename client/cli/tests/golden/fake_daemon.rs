//! A daemon that says what a test wants, over the real protocol: for outputs that must
//! be the same on every run.

#![allow(clippy::unwrap_used, reason = "only tests call these functions")]

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bytes::BytesMut;
use hasher_wire::{
    Codec, ConfigurationReport, Document, Event, EventBody, Failed, Features, Frame, Limits, Query,
    SettingReport, Status, StatusReply, StatusReport, Topics, Version, Welcome,
};
use tempfile::TempDir;

/// Longest wait for a frame of the client; it then counts as gone.
const PATIENCE: Duration = Duration::from_secs(60);

/// What it serves.
#[derive(Clone)]
pub struct Script {
    /// The status document.
    pub status: StatusReport,
    /// The configuration document; without it the topic is unknown.
    pub configuration: Option<ConfigurationReport>,
    /// What a subscriber hears on each connection. Then the connection is closed; the
    /// last one stays, in silence.
    pub lives: Vec<Vec<EventBody>>,
}

impl Script {
    /// Boards in every state, three clients and a few settings.
    pub fn several() -> Self {
        let setting = |key: &str, value: &str, origin: &str| SettingReport {
            key: key.to_owned(),
            value: value.to_owned(),
            origin: origin.to_owned(),
        };
        Self {
            status: serde_json::from_str(include_str!("../status/several.json")).unwrap(),
            configuration: Some(ConfigurationReport {
                file: "/etc/hasher/hasherd.toml".to_owned(),
                settings: vec![
                    setting(
                        "devices",
                        "[\"usb:1-2.3\", \"sim:s3,zero-bits=14\", \"cpu,threads=1\"]",
                        "command line",
                    ),
                    setting("limits.sessions", "64", "default"),
                    setting("limits.jobs-per-user", "512", "file:7"),
                ],
            }),
            lives: Vec::new(),
        }
    }

    /// Nothing attached, and only the asking client.
    pub fn empty() -> Self {
        let mut script = Self::several();
        script.status.devices.clear();
        script.status.sessions.truncate(1);
        script.status.totals = Default::default();
        script.configuration = None;
        script
    }
}

/// A socket that answers by its script, as long as it lives.
pub struct FakeDaemon {
    directory: TempDir,
}

impl FakeDaemon {
    /// Listens.
    pub fn start(script: Script) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("hasherd.sock")).unwrap();
        let lives = Arc::new(Mutex::new(script.lives.clone().into_iter()));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (script, lives) = (script.clone(), Arc::clone(&lives));
                thread::spawn(move || {
                    let mut life = || {
                        let mut lives = lives.lock().unwrap();
                        (lives.next().unwrap_or_default(), lives.len() == 0)
                    };
                    // A client that leaves in the middle is a test's business.
                    _ = stream.map(|stream| serve(stream, &script, &mut life));
                });
            }
        });
        Self { directory }
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("hasherd.sock")
    }

    /// Its socket's folder, for files of the test.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
}

fn serve(
    mut stream: UnixStream,
    script: &Script,
    life: &mut dyn FnMut() -> (Vec<EventBody>, bool),
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut input = BytesMut::new();
    loop {
        let frame = match Codec.decode(&mut input).expect("frames of the client") {
            Some(frame) => frame,
            None => {
                let mut chunk = [0; 4096];
                match stream.read(&mut chunk)? {
                    0 => return Ok(()),
                    count => input.extend_from_slice(&chunk[..count]),
                }
                continue;
            }
        };
        match frame {
            Frame::Hello(_) => send(&mut stream, welcome())?,
            Frame::StatusQuery(request) => {
                let reply = StatusReply::new(request, &script.status).unwrap();
                send(&mut stream, Frame::Status(reply))?;
            }
            Frame::Query(query) => send(&mut stream, answer(&query, script))?,
            Frame::Ping(number) => send(&mut stream, Frame::Pong(number))?,
            Frame::Goodbye(_) => return Ok(()),
            Frame::Subscribe(subscribe) if subscribe.topics != Topics::NONE => {
                let (events, is_last) = life();
                for body in events {
                    send(&mut stream, Frame::Event(Event::new(&body).unwrap()))?;
                }
                if !is_last {
                    return Ok(());
                }
            }
            _ => {}
        }
    }
}

fn send(stream: &mut UnixStream, frame: Frame) -> std::io::Result<()> {
    let mut out = BytesMut::new();
    Codec.encode(&frame, &mut out).expect("frames of a script");
    stream.write_all(&out)
}

fn welcome() -> Frame {
    Frame::Welcome(Welcome {
        version: Version::NEWEST,
        credits: 64,
        limits: Limits {
            frame_bytes: 65_536,
            jobs: 256,
            messages: 1024,
            chunk_bytes: 61_440,
            deadline_default_ms: 60_000,
            deadline_max_ms: 3_600_000,
        },
        features: Features::ROLLS
            .and(Features::DIGEST_STREAM)
            .and(Features::DOCUMENTS),
        daemon: "0.1.0".into(),
    })
}

fn answer(query: &Query, script: &Script) -> Frame {
    match &script.configuration {
        Some(configuration) if &*query.topic == ConfigurationReport::TOPIC => {
            Frame::Document(Document::new(query.request, configuration).unwrap())
        }
        _ => Frame::Failed(Failed {
            request: query.request,
            index: None,
            status: Status::Unsupported,
            message: format!("no document `{}`", query.topic).into(),
        }),
    }
}
