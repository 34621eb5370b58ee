//! Scripted misbehaviour: the language of `script=…`.
//!
//! Owns the grammar and its errors; what an event does is the board's part. A script
//! is a list of events, and every event says what, when and for how long:
//!
//! ```text
//! script   = event { ";" event }                      at most 64
//! event    = action [ "=" value ] "@" when [ "+" duration ]
//! when     = duration                 since the simulated board came to life
//!          | "out:" bytes             when so many bytes went to the board
//!          | "in:" bytes              when so many bytes came from the board
//! duration = number ( "ms" | "s" | "m" )              at most 1440 minutes
//! ```
//!
//! | Action | Value | `+duration` | What happens |
//! |---|---|---|---|
//! | `unplug` | – | until replugged, else for good | the USB cable is out, at the very byte if asked so; the board keeps its power and its works |
//! | `power-cycle` | – | power off for, 1 s | everything is forgotten; it comes back in the boot loader |
//! | `silence` | – | else for good | takes tokens, gives no replies |
//! | `freeze` | – | else for good | takes no tokens either, so sending times out |
//! | `stall` | `out` (default) or `in` | no | one transfer is refused |
//! | `garbage` | bytes, 1 to 512 (16) | no | random bytes arrive before the next reply |
//! | `short` | replies (1) | no | the next replies lose their ends |
//! | `bad-crc` | replies (1) | no | one bit of the next replies flips |
//! | `lost-nonce` | nonces (1) | no | the next nonces vanish |
//! | `duplicate-nonce` | nonces (1) | no | the next nonces come twice |
//! | `wrong-nonce` | nonces (1) | no | the chips report a nonce with a flipped bit |
//! | `forged-nonce` | nonces (1) | no | a bit flips after the controller's own check |
//! | `heat` | room in °C, 0 to 120 | else for good | the room gets so warm |
//! | `fan-stop` | – | else for good | the fans stand still |
//! | `dead-chip` | `chain.chip` | no | the chip never answers again |
//! | `hang` | – | else for good | whoever polls the board waits, and its thread with it |
//!
//! For example `unplug@2s+1s;garbage@3s` or `heat=65@10s+1m;unplug@out:4096+500ms`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::image::CHAINS;

/// Most events of one script.
pub const SCRIPT_EVENTS_MAX: usize = 64;
/// Longest time in a script: a day.
pub const SCRIPT_TIME_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Most replies or nonces that one event may touch.
pub const SCRIPT_COUNT_MAX: u32 = 65_535;
/// Room temperatures that a script may set, in °C.
pub const SCRIPT_HEAT_MAX: u8 = 120;
/// Longest garbage: one IN transfer.
pub const SCRIPT_GARBAGE_MAX: u16 = 512;
/// Power stays off so long unless the script says otherwise.
const POWER_OFF_TIME: Duration = Duration::from_secs(1);

/// One direction of the USB pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the host to the board.
    Out,
    /// From the board to the host.
    In,
}

/// When an event begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum When {
    /// So long after the board came to life.
    Time(Duration),
    /// When so many bytes have gone in this direction.
    Bytes(Direction, u64),
}

/// What an event does; see the table of the [module](self).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the module's table describes every action")]
pub enum Action {
    Unplug,
    PowerCycle,
    Silence,
    Freeze,
    Stall(Direction),
    Garbage { bytes: u16 },
    Short { replies: u32 },
    BadCrc { replies: u32 },
    LostNonce { nonces: u32 },
    DuplicateNonce { nonces: u32 },
    WrongNonce { nonces: u32 },
    ForgedNonce { nonces: u32 },
    Heat { celsius: u8 },
    FanStop,
    DeadChip { chain: u8, chip: u8 },
    Hang,
}

/// One line of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ScriptEvent {
    /// What.
    pub action: Action,
    /// When it begins.
    pub when: When,
    /// How long it lasts; nothing means for good, or that it has no length.
    pub lasts: Option<Duration>,
}

/// A list of events; empty means good behaviour.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Script {
    /// The events as written.
    pub events: Vec<ScriptEvent>,
}

/// Why a text is no script.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("script event {event:?}: {why}")]
pub struct ScriptError {
    event: String,
    why: String,
}

/// Every action's word, whether `+duration` may follow, and its value.
const WORDS: [(&str, bool, &str); 16] = [
    ("unplug", true, ""),
    ("power-cycle", true, ""),
    ("silence", true, ""),
    ("freeze", true, ""),
    ("stall", false, "[=out|in]"),
    ("garbage", false, "[=BYTES]"),
    ("short", false, "[=REPLIES]"),
    ("bad-crc", false, "[=REPLIES]"),
    ("lost-nonce", false, "[=NONCES]"),
    ("duplicate-nonce", false, "[=NONCES]"),
    ("wrong-nonce", false, "[=NONCES]"),
    ("forged-nonce", false, "[=NONCES]"),
    ("heat", true, "=CELSIUS"),
    ("fan-stop", true, ""),
    ("dead-chip", false, "=CHAIN.CHIP"),
    ("hang", true, ""),
];

impl FromStr for Script {
    type Err = ScriptError;

    fn from_str(text: &str) -> Result<Self, ScriptError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let mut events = Vec::new();
        for event in text.split(';') {
            let error = |why: String| ScriptError {
                event: event.to_owned(),
                why,
            };
            if events.len() == SCRIPT_EVENTS_MAX {
                return Err(error(format!("more than {SCRIPT_EVENTS_MAX} events")));
            }
            events.push(parse_event(event.trim()).map_err(error)?);
        }
        Ok(Self { events })
    }
}

fn parse_event(text: &str) -> Result<ScriptEvent, String> {
    let (what, rest) = text
        .split_once('@')
        .ok_or("no \"@\"; an event reads action[=value]@when[+duration]")?;
    let (word, value) = match what.split_once('=') {
        Some((word, value)) => (word, Some(value)),
        None => (what, None),
    };
    let (when, lasts) = match rest.split_once('+') {
        Some((when, lasts)) => (when, Some(parse_duration(lasts)?)),
        None => (rest, None),
    };
    let action = parse_action(word, value)?;
    let takes_time = WORDS
        .iter()
        .any(|(known, takes, _)| *known == word && *takes);
    if lasts.is_some() && !takes_time {
        return Err(format!("{word:?} takes no \"+duration\""));
    }
    Ok(ScriptEvent {
        action,
        when: parse_when(when)?,
        lasts: match action {
            Action::PowerCycle => lasts.or(Some(POWER_OFF_TIME)),
            _ => lasts,
        },
    })
}

fn parse_action(word: &str, value: Option<&str>) -> Result<Action, String> {
    let count = || match value {
        None => Ok(1),
        Some(text) => bounded(text, 1, u64::from(SCRIPT_COUNT_MAX)).map(|n| n as u32),
    };
    let bare = |action| match value {
        None => Ok(action),
        Some(_) => Err(format!("{word:?} takes no value")),
    };
    match word {
        "unplug" => bare(Action::Unplug),
        "power-cycle" => bare(Action::PowerCycle),
        "silence" => bare(Action::Silence),
        "freeze" => bare(Action::Freeze),
        "fan-stop" => bare(Action::FanStop),
        "hang" => bare(Action::Hang),
        "stall" => match value {
            None | Some("out") => Ok(Action::Stall(Direction::Out)),
            Some("in") => Ok(Action::Stall(Direction::In)),
            Some(other) => Err(format!("a stall is \"out\" or \"in\", not {other:?}")),
        },
        "garbage" => {
            let bytes = match value {
                None => 16,
                Some(text) => bounded(text, 1, u64::from(SCRIPT_GARBAGE_MAX))?,
            };
            Ok(Action::Garbage {
                bytes: bytes as u16,
            })
        }
        "short" => Ok(Action::Short { replies: count()? }),
        "bad-crc" => Ok(Action::BadCrc { replies: count()? }),
        "lost-nonce" => Ok(Action::LostNonce { nonces: count()? }),
        "duplicate-nonce" => Ok(Action::DuplicateNonce { nonces: count()? }),
        "wrong-nonce" => Ok(Action::WrongNonce { nonces: count()? }),
        "forged-nonce" => Ok(Action::ForgedNonce { nonces: count()? }),
        "heat" => {
            let celsius = value.ok_or("\"heat\" needs a temperature, such as heat=65")?;
            let celsius = bounded(celsius, 0, u64::from(SCRIPT_HEAT_MAX))?;
            Ok(Action::Heat {
                celsius: celsius as u8,
            })
        }
        "dead-chip" => {
            let (chain, chip) = value
                .and_then(|value| value.split_once('.'))
                .ok_or("\"dead-chip\" needs a chain and a chip, such as dead-chip=0.3")?;
            Ok(Action::DeadChip {
                chain: bounded(chain, 0, CHAINS as u64 - 1)? as u8,
                chip: bounded(chip, 0, 31)? as u8,
            })
        }
        _ => {
            let words: Vec<_> = WORDS
                .iter()
                .map(|(w, _, value)| format!("{w}{value}"))
                .collect();
            Err(format!(
                "unknown action {word:?}; there are {}",
                words.join(", ")
            ))
        }
    }
}

fn parse_when(text: &str) -> Result<When, String> {
    let bytes = |text| bounded(text, 0, u64::MAX);
    if let Some(text) = text.strip_prefix("out:") {
        return Ok(When::Bytes(Direction::Out, bytes(text)?));
    }
    if let Some(text) = text.strip_prefix("in:") {
        return Ok(When::Bytes(Direction::In, bytes(text)?));
    }
    parse_duration(text).map(When::Time)
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit_ms) = if let Some(number) = text.strip_suffix("ms") {
        (number, 1)
    } else if let Some(number) = text.strip_suffix('s') {
        (number, 1000)
    } else if let Some(number) = text.strip_suffix('m') {
        (number, 60_000)
    } else {
        return Err(format!("{text:?} is no time; write it as 500ms, 2s or 1m"));
    };
    let most = SCRIPT_TIME_MAX.as_millis() as u64 / unit_ms;
    Ok(Duration::from_millis(bounded(number, 0, most)? * unit_ms))
}

/// A whole number within bounds.
fn bounded(text: &str, least: u64, most: u64) -> Result<u64, String> {
    // `parse` alone would take a leading plus sign.
    let number = text
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok());
    match number.flatten() {
        Some(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!(
            "{text:?} is no whole number from {least} to {most}"
        )),
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, event) in self.events.iter().enumerate() {
            if i > 0 {
                f.write_str(";")?;
            }
            event.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for ScriptEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.action {
            Action::Unplug => f.write_str("unplug"),
            Action::PowerCycle => f.write_str("power-cycle"),
            Action::Silence => f.write_str("silence"),
            Action::Freeze => f.write_str("freeze"),
            Action::Stall(Direction::Out) => f.write_str("stall=out"),
            Action::Stall(Direction::In) => f.write_str("stall=in"),
            Action::Garbage { bytes } => write!(f, "garbage={bytes}"),
            Action::Short { replies } => write!(f, "short={replies}"),
            Action::BadCrc { replies } => write!(f, "bad-crc={replies}"),
            Action::LostNonce { nonces } => write!(f, "lost-nonce={nonces}"),
            Action::DuplicateNonce { nonces } => write!(f, "duplicate-nonce={nonces}"),
            Action::WrongNonce { nonces } => write!(f, "wrong-nonce={nonces}"),
            Action::ForgedNonce { nonces } => write!(f, "forged-nonce={nonces}"),
            Action::Heat { celsius } => write!(f, "heat={celsius}"),
            Action::FanStop => f.write_str("fan-stop"),
            Action::Hang => f.write_str("hang"),
            Action::DeadChip { chain, chip } => write!(f, "dead-chip={chain}.{chip}"),
        }?;
        match self.when {
            When::Time(time) => write!(f, "@{}ms", time.as_millis()),
            When::Bytes(Direction::Out, bytes) => write!(f, "@out:{bytes}"),
            When::Bytes(Direction::In, bytes) => write!(f, "@in:{bytes}"),
        }?;
        match self.lasts {
            Some(time) => write!(f, "+{}ms", time.as_millis()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
