//! The control socket: one line in, one answer out, for tests and for people.
//!
//! Owns the boards' names and the language of the lines. An answer is any number of
//! lines followed by `ok`, or one line `error: ...`. What an action does is in
//! [`crate::cable`].

use std::collections::BTreeMap;
use std::io;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::board::UsbBoard;
use crate::cable::{Action, Cable, Order};
use crate::port::Port;
use crate::vhci::PORTS;

/// Longest command in bytes; a board's text with a script is the longest part.
const MAX_LINE_BYTES: u64 = 4096;

/// Orders that may wait for one board; each client waits for its answer, so more
/// than one means several clients.
const MAX_ORDERS: usize = 8;

/// Longest name of a board in bytes.
const MAX_NAME_BYTES: usize = 32;

/// What the line `help` answers.
pub const HELP: &str = "\
add NAME PORT BOARD   make a board, not yet plugged in; PORT is 0 to 14 of the virtual
                      host controller, or the directory of a mounted gadgetfs;
                      BOARD is such as sim:s3,zero-bits=8
remove NAME           unplug it and forget it
plug NAME             put the cable in
unplug NAME           pull the cable; the board keeps its power
power-cycle NAME      the board restarts in its boot loader
fault NAME FAULT      stall in|out, nak in|out, short BYTES, babble,
                      protocol-error in|out [TIMES], cut in|out BYTES,
                      re-enumerate MILLISECONDS, stay-in-boot-loader
clear NAME            end all faults
list                  one line for each board";

/// Makes a board from its text.
pub type BoardMaker = fn(&str) -> Result<Box<dyn UsbBoard>, String>;

/// One line, understood.
#[derive(Debug)]
enum Line<'a> {
    Add {
        name: &'a str,
        port: Port,
        board: &'a str,
    },
    Remove(&'a str),
    Do(&'a str, Action),
    List,
    Help,
}

fn parse(line: &str) -> Result<Line<'_>, String> {
    let line = line.trim();
    let (verb, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let (name, rest) = {
        let rest = rest.trim_start();
        let (name, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        (name, rest.trim())
    };
    let alone = |line| {
        if rest.is_empty() {
            Ok(line)
        } else {
            Err(format!(
                "\"{verb}\" takes nothing after the name, got \"{rest}\""
            ))
        }
    };
    match verb {
        "list" if name.is_empty() => return Ok(Line::List),
        "help" if name.is_empty() => return Ok(Line::Help),
        _ => {}
    }
    check_name(name)?;
    match verb {
        "add" => {
            let (port, board) = rest
                .split_once(char::is_whitespace)
                .ok_or("usage: add NAME PORT BOARD")?;
            let port = Port::parse(port)?;
            let board = board.trim();
            Ok(Line::Add { name, port, board })
        }
        "remove" => alone(Line::Remove(name)),
        "plug" => alone(Line::Do(name, Action::Plug)),
        "unplug" => alone(Line::Do(name, Action::Unplug)),
        "power-cycle" => alone(Line::Do(name, Action::PowerCycle)),
        "clear" => alone(Line::Do(name, Action::Clear)),
        "fault" => rest
            .parse()
            .map(|fault| Line::Do(name, Action::Fault(fault)))
            .map_err(|error: crate::fault::BadFault| error.to_string()),
        _ => Err(format!("unknown command \"{verb}\"; try help")),
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let is_good = (1..=MAX_NAME_BYTES).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if is_good {
        Ok(())
    } else {
        Err(format!(
            "\"{name}\" is no name of a board: 1 to {MAX_NAME_BYTES} letters, digits and hyphens"
        ))
    }
}

/// All boards of this emulator.
///
/// The map is shared by the clients of the control socket, which are few and slow; an
/// order itself waits outside the lock.
pub struct Boards {
    make: BoardMaker,
    boards: Mutex<BTreeMap<String, mpsc::Sender<Order>>>,
}

impl Boards {
    /// None yet; `make` builds them.
    pub fn new(make: BoardMaker) -> Self {
        Self {
            make,
            boards: Mutex::new(BTreeMap::new()),
        }
    }

    /// Carries out one line.
    ///
    /// # Errors
    /// A text for whoever sent the line.
    pub async fn execute(&self, line: &str) -> Result<String, String> {
        match parse(line)? {
            Line::Help => Ok(HELP.to_owned()),
            Line::List => self.list().await,
            Line::Add { name, port, board } => self.add(name, port, board).await,
            Line::Remove(name) => match self.boards.lock().await.remove(name) {
                Some(_) => Ok(String::new()),
                None => Err(no_such_board(name)),
            },
            Line::Do(name, action) => self.order(name, action).await,
        }
    }

    async fn add(&self, name: &str, port: Port, board: &str) -> Result<String, String> {
        let mut boards = self.boards.lock().await;
        if boards.contains_key(name) {
            return Err(format!("there is a board {name} already"));
        }
        // Ports bound the number of boards: a second board on a port cannot be plugged.
        if boards.len() >= usize::from(PORTS) {
            return Err(format!("{PORTS} boards are all that the ports can take"));
        }
        let cable = Cable::new(name.to_owned(), (self.make)(board)?, port);
        let (sender, orders) = mpsc::channel(MAX_ORDERS);
        tokio::spawn(cable.run(orders));
        boards.insert(name.to_owned(), sender);
        Ok(String::new())
    }

    async fn order(&self, name: &str, action: Action) -> Result<String, String> {
        let sender = self.boards.lock().await.get(name).cloned();
        let sender = sender.ok_or_else(|| no_such_board(name))?;
        let (reply, answer) = oneshot::channel();
        // Neither fails while the board's task lives, and it lives as long as the map.
        let gone = || format!("board {name} was removed");
        sender.send((action, reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    async fn list(&self) -> Result<String, String> {
        let names: Vec<String> = self.boards.lock().await.keys().cloned().collect();
        let mut lines = Vec::new();
        for name in names {
            lines.push(self.order(&name, Action::Describe).await?);
        }
        Ok(lines.join("\n"))
    }

    /// Serves one client until it closes its end.
    ///
    /// # Errors
    /// When the client's socket fails.
    pub async fn serve(&self, client: UnixStream) -> io::Result<()> {
        let (reader, mut writer) = client.into_split();
        let mut reader = BufReader::new(reader);
        loop {
            let mut line = Vec::new();
            (&mut reader)
                .take(MAX_LINE_BYTES)
                .read_until(b'\n', &mut line)
                .await?;
            if line.is_empty() {
                return Ok(());
            }
            if line.last() != Some(&b'\n') {
                let text = "error: line is too long or not ended\n";
                return writer.write_all(text.as_bytes()).await;
            }
            let answer = match self.execute(&String::from_utf8_lossy(&line)).await {
                Ok(text) if text.is_empty() => "ok\n".to_owned(),
                Ok(text) => format!("{text}\nok\n"),
                Err(error) => format!("error: {error}\n"),
            };
            writer.write_all(answer.as_bytes()).await?;
        }
    }
}

fn no_such_board(name: &str) -> String {
    format!("no board {name}")
}

/// Clients that may be connected at once; tests use one or two.
const MAX_CLIENTS: usize = 16;

/// Accepts clients for ever.
///
/// # Errors
/// When the listening socket fails.
pub async fn listen(boards: std::sync::Arc<Boards>, listener: UnixListener) -> io::Result<()> {
    let places = std::sync::Arc::new(tokio::sync::Semaphore::new(MAX_CLIENTS));
    loop {
        let (client, _) = listener.accept().await?;
        let Ok(place) = places.clone().try_acquire_owned() else {
            continue; // closes the connection
        };
        let boards = boards.clone();
        tokio::spawn(async move {
            if let Err(error) = boards.serve(client).await {
                eprintln!("control client: {error}");
            }
            drop(place);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulated::make_board;
    use proptest::prelude::*;

    fn boards() -> Boards {
        Boards::new(make_board)
    }

    #[tokio::test]
    async fn a_board_is_added_listed_and_removed() {
        let boards = boards();
        assert_eq!(boards.execute("add s3 4 sim:s3").await, Ok(String::new()));
        let list = boards.execute("list").await.unwrap();
        assert!(list.starts_with("s3 port=4 "), "{list}");
        assert!(list.contains(" unplugged off-the-bus"), "{list}");
        assert_eq!(boards.execute("remove s3").await, Ok(String::new()));
        assert_eq!(boards.execute("list").await, Ok(String::new()));
    }

    #[tokio::test]
    async fn faults_set_before_the_plug_are_kept_for_it() {
        let boards = boards();
        boards.execute("add a 0 sim:s3").await.unwrap();
        boards.execute("fault a cut out 100").await.unwrap();
        let list = boards.execute("list").await.unwrap();
        assert!(list.ends_with("fault=\"cut out 100\""), "{list}");
        boards.execute("clear a").await.unwrap();
        assert!(!boards.execute("list").await.unwrap().contains("fault"));
    }

    #[tokio::test]
    async fn wrong_lines_are_refused_with_a_reason() {
        let boards = boards();
        boards.execute("add a 0 sim:s3").await.unwrap();
        for (line, reason) in [
            ("", "no name"),
            ("plug", "no name"),
            ("plug b", "no board b"),
            ("plug a now", "takes nothing"),
            ("unplug a", "not plugged in"),
            ("add a 1 sim:s3", "already"),
            ("add b 15 sim:s3", "0 to 14"),
            ("add b 1", "usage"),
            ("add b 1 toaster", "no such device"),
            ("add b/c 1 sim:s3", "no name"),
            ("fault a wobble", "is no fault"),
            ("dance a", "unknown command"),
        ] {
            let error = boards.execute(line).await.unwrap_err();
            assert!(error.contains(reason), "{line}: {error}");
        }
    }

    #[tokio::test]
    async fn a_client_gets_one_answer_for_each_line() {
        let boards = std::sync::Arc::new(boards());
        let (client, server) = UnixStream::pair().unwrap();
        let serving = tokio::spawn({
            let boards = boards.clone();
            async move { boards.serve(server).await }
        });
        let (reader, mut writer) = client.into_split();
        writer
            .write_all(b"add a 0 sim:s3\nunplug a\nremove a\n")
            .await
            .unwrap();
        drop(writer);
        let mut answers = String::new();
        BufReader::new(reader)
            .read_to_string(&mut answers)
            .await
            .unwrap();
        assert_eq!(answers, "ok\nerror: not plugged in\nok\n");
        serving.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn an_endless_line_is_refused_at_its_bound() {
        let boards = boards();
        let (mut client, server) = UnixStream::pair().unwrap();
        client
            .write_all(&vec![b'a'; MAX_LINE_BYTES as usize])
            .await
            .unwrap();
        boards.serve(server).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("error: line is too long"), "{answer}");
    }

    proptest! {
        #[test]
        fn arbitrary_lines_are_parsed_without_panic(line in "\\PC{0,80}") {
            let _ = parse(&line);
        }
    }
}
