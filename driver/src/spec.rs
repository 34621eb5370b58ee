//! Devices as users name them: `sim:s3,zero-bits=14`, `cpu,threads=2`.
//!
//! Owns the text form and its errors. It opens nothing: that is the part of
//! [`DeviceSource`](crate::DeviceSource). The daemon parses its `--device` options with it.
//!
//! | Text | Device |
//! |---|---|
//! | `usb` | every board on USB, now and later, with any of the keys of `usb` |
//! | `usb:PORT` | the board at this port, such as `usb:pci-0000:00:14.0-usb-0:2.3` |
//! | `sim:s1`, `sim:s3` | simulated Antminer, with any of the keys below |
//! | `cpu` | this CPU; `threads=1..256` (all of them) |
//!
//! | Key of `sim` | Values (default) | Meaning |
//! |---|---|---|
//! | `zero-bits` | 8 to 32 (14; 32 with a book) | zero bits below which the chips report nothing |
//! | `image` | 2013, 2014 (2013) | firmware image of an S1 |
//! | `mhz` | a clock of the model's table (stock) | clock the host sets |
//! | `book` | file | known solutions for 32 zero bits, one header a line |
//! | `script` | see [`crate::sim::script`] | what goes wrong, and when |
//! | `seed` | number (0) | random numbers behind the script |
//! | `boot-loader` | yes, no (yes) | whether the board waits in its boot loader |
//! | `hashing` | thread, inline (thread) | where its CPU work is done |
//!
//! | Key of `usb` | Values (default) | Meaning |
//! |---|---|---|
//! | `s1-mhz`, `s3-mhz` | a clock of the model's table (stock) | clock of the boards that turn out to be one |
//! | `beyond-limit` | yes, no (no) | whether `s3-mhz` may be above 250; heat and supply are then your concern |
//! | `rest` | seconds (60; 0 is never) | an S3 without work for so long gets its slowest clock |
//! | `zero-bits` | 8 to 32 (32) | what the chips filter for; only an emulated board has less, and is then called simulated |
//! | `via` | nusb, libusb (nusb) | the way to the kernel; libusb where it is built in |
//! | `give-back` | yes, no (yes) | whether a kernel driver gets its board back at the end |
//!
//! Values hold no comma, so neither can the path of a book.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use crate::sim::{Book, Hashing, Image, SILICON_ZERO_BITS, Script, SimSettings};
use crate::{CPU_THREADS_MAX, Clock, DriverError, Model};

mod usb;

pub use usb::UsbSpec;

/// Longest text of one device; a script of 64 events fits.
pub const SPEC_BYTES_MAX: usize = 4096;

/// What kind of device, and how it is set.
#[derive(Debug, Clone, PartialEq)]
pub enum DeviceSpec {
    /// Boards on USB.
    Usb(UsbSpec),
    /// A simulated board.
    Sim(SimSpec),
    /// This CPU.
    Cpu {
        /// Threads, 1 to [`CPU_THREADS_MAX`]; all processors if nothing is said.
        threads: Option<usize>,
    },
}

/// A simulated board as users describe it.
#[derive(Debug, Clone, PartialEq)]
pub struct SimSpec {
    image: Image,
    zero_bits: u32,
    clock: Option<Clock>,
    book: Option<PathBuf>,
    script: Script,
    rng_seed: u64,
    boot_loader: bool,
    hashing: Hashing,
}

impl FromStr for DeviceSpec {
    type Err = DriverError;

    fn from_str(text: &str) -> Result<Self, DriverError> {
        if text.len() > SPEC_BYTES_MAX {
            return Err(bad(format!(
                "a device is named in at most {SPEC_BYTES_MAX} bytes, not {}",
                text.len()
            )));
        }
        parse(text).map_err(|why| bad(format!("device {text:?}: {why}")))
    }
}

fn parse(text: &str) -> Result<DeviceSpec, String> {
    let mut parts = text.split(',');
    match parts.next() {
        Some("cpu") => {
            let pairs = pairs(parts, "cpu", &["threads"])?;
            let threads = pairs.first().map(|(_, value)| {
                number(value, 1, CPU_THREADS_MAX as u64).map_err(|why| format!("threads: {why}"))
            });
            Ok(DeviceSpec::Cpu {
                threads: threads.transpose()?.map(|threads| threads as usize),
            })
        }
        Some("sim:s1") => {
            let pairs = pairs(parts, "sim:s1", &S1_KEYS)?;
            SimSpec::parse(Image::S1Of2013, &pairs).map(DeviceSpec::Sim)
        }
        Some("sim:s3") => {
            let pairs = pairs(parts, "sim:s3", &S3_KEYS)?;
            SimSpec::parse(Image::S3Version7, &pairs).map(DeviceSpec::Sim)
        }
        Some("usb") => UsbSpec::parse(None, parts).map(DeviceSpec::Usb),
        Some(text) if text.starts_with("usb:") => {
            UsbSpec::parse(text.strip_prefix("usb:"), parts).map(DeviceSpec::Usb)
        }
        _ => Err("no such device; there are usb, sim:s1, sim:s3 and cpu".to_owned()),
    }
}

const S1_KEYS: [&str; 8] = [
    "zero-bits",
    "mhz",
    "book",
    "script",
    "seed",
    "boot-loader",
    "hashing",
    "image",
];
const S3_KEYS: [&str; 7] = [
    "zero-bits",
    "mhz",
    "book",
    "script",
    "seed",
    "boot-loader",
    "hashing",
];

/// Splits `key=value` parts and checks the keys.
fn pairs<'a>(
    parts: std::str::Split<'a, char>,
    kind: &str,
    legal: &[&str],
) -> Result<Vec<(&'a str, &'a str)>, String> {
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    for part in parts {
        let (key, value) = part
            .split_once('=')
            .ok_or_else(|| format!("{part:?} is not of the form key=value"))?;
        if !legal.contains(&key) {
            return Err(format!(
                "unknown key {key:?} of {kind}; there are {}",
                legal.join(", ")
            ));
        }
        if pairs.iter().any(|(known, _)| *known == key) {
            return Err(format!("key {key:?} is given twice"));
        }
        pairs.push((key, value));
    }
    Ok(pairs)
}

impl SimSpec {
    fn new(image: Image) -> Self {
        Self {
            image,
            zero_bits: SimSettings::DEFAULT_ZERO_BITS,
            clock: None,
            book: None,
            script: Script::default(),
            rng_seed: 0,
            boot_loader: true,
            hashing: Hashing::default(),
        }
    }

    fn parse(image: Image, pairs: &[(&str, &str)]) -> Result<Self, String> {
        let mut spec = Self::new(image);
        let mut zero_bits = None;
        for (key, value) in pairs {
            let error = |why: String| format!("{key}: {why}");
            match *key {
                "zero-bits" => {
                    let legal = SimSettings::ZERO_BITS;
                    let bits = number(value, u64::from(*legal.start()), u64::from(*legal.end()));
                    zero_bits = Some(bits.map_err(error)? as u32);
                }
                "image" => {
                    spec.image = choice(value, &S1_IMAGES).map_err(error)?;
                }
                "mhz" => spec.clock = Some(clock(image.model(), value).map_err(error)?),
                "book" if value.is_empty() => return Err(error("no file is named".to_owned())),
                "book" => spec.book = Some(PathBuf::from(value)),
                "script" => spec.script = value.parse().map_err(|e| error(format!("{e}")))?,
                "seed" => spec.rng_seed = number(value, 0, u64::MAX).map_err(error)?,
                "boot-loader" => {
                    spec.boot_loader = choice(value, &YES_NO).map_err(error)?;
                }
                _ => spec.hashing = choice(value, &HASHING).map_err(error)?,
            }
        }
        spec.zero_bits = match (zero_bits, &spec.book) {
            (None, None) => SimSettings::DEFAULT_ZERO_BITS,
            (None, Some(_)) => SILICON_ZERO_BITS,
            (Some(zero_bits), Some(_)) if zero_bits != SILICON_ZERO_BITS => {
                return Err(format!(
                    "a book holds solutions of {SILICON_ZERO_BITS} zero bits; leave out zero-bits={zero_bits}"
                ));
            }
            (Some(zero_bits), _) => zero_bits,
        };
        Ok(spec)
    }

    /// The clock the driver shall set; the stock clock if nothing is said.
    pub(crate) const fn clock(&self) -> Option<Clock> {
        self.clock
    }

    /// The board that this describes.
    ///
    /// # Errors
    /// Those of [`Book::from_file`].
    pub fn settings(&self) -> Result<SimSettings, DriverError> {
        let book = match &self.book {
            Some(path) => Book::from_file(path)?,
            None => Book::of_blocks(),
        };
        Ok(SimSettings {
            image: self.image,
            zero_bits: self.zero_bits,
            book: Arc::new(book),
            script: self.script.clone(),
            rng_seed: self.rng_seed,
            boot_loader: self.boot_loader,
            hashing: self.hashing,
        })
    }
}

const S1_IMAGES: [(&str, Image); 2] = [("2013", Image::S1Of2013), ("2014", Image::S1Of2014)];
const YES_NO: [(&str, bool); 2] = [("yes", true), ("no", false)];
const HASHING: [(&str, Hashing); 2] = [("thread", Hashing::Thread), ("inline", Hashing::Inline)];

fn choice<T: Copy>(value: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let found = choices.iter().find(|(word, _)| *word == value);
    found.map(|(_, choice)| *choice).ok_or_else(|| {
        let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
        format!("{value:?} is not one of {}", words.join(", "))
    })
}

fn word_of<T: PartialEq>(value: &T, choices: &[(&'static str, T)]) -> &'static str {
    choices
        .iter()
        .find(|(_, choice)| choice == value)
        .map_or("", |(word, _)| word)
}

fn number(text: &str, least: u64, most: u64) -> Result<u64, String> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(number) if digits && (least..=most).contains(&number) => Ok(number),
        _ => Err(format!(
            "{text:?} is no whole number from {least} to {most}"
        )),
    }
}

fn clock(model: Model, text: &str) -> Result<Clock, String> {
    Clock::new(model, mhz(text)?).map_err(|error| error.to_string())
}

fn clock_beyond_limit(model: Model, text: &str) -> Result<Clock, String> {
    Clock::beyond_default_limit(model, mhz(text)?).map_err(|error| error.to_string())
}

fn mhz(text: &str) -> Result<f64, String> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    match text.parse() {
        Ok(mhz) if plain => Ok(mhz),
        _ => Err(format!("{text:?} is no number of MHz")),
    }
}

const fn bad(why: String) -> DriverError {
    DriverError::BadSpec(why)
}

impl fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usb(spec) => spec.fmt(f),
            Self::Sim(spec) => spec.fmt(f),
            Self::Cpu { threads: None } => f.write_str("cpu"),
            Self::Cpu {
                threads: Some(threads),
            } => write!(f, "cpu,threads={threads}"),
        }
    }
}

impl fmt::Display for SimSpec {
    /// What differs from the defaults, and always the zero bits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.short_name();
        write!(f, "sim:{name},zero-bits={}", self.zero_bits)?;
        let default = Self::new(self.image);
        if self.image == Image::S1Of2014 {
            write!(f, ",image={}", word_of(&self.image, &S1_IMAGES))?;
        }
        if let Some(clock) = self.clock {
            write!(f, ",mhz={}", clock.mhz())?;
        }
        if let Some(book) = &self.book {
            write!(f, ",book={}", book.display())?;
        }
        if self.script != default.script {
            write!(f, ",script={}", self.script)?;
        }
        if self.rng_seed != default.rng_seed {
            write!(f, ",seed={}", self.rng_seed)?;
        }
        if self.boot_loader != default.boot_loader {
            write!(f, ",boot-loader={}", word_of(&self.boot_loader, &YES_NO))?;
        }
        if self.hashing != default.hashing {
            write!(f, ",hashing={}", word_of(&self.hashing, &HASHING))?;
        }
        Ok(())
    }
}

impl SimSpec {
    /// `s1` or `s3`.
    pub(crate) const fn short_name(&self) -> &'static str {
        match self.image.model() {
            Model::AntminerS1 => "s1",
            Model::AntminerS3 => "s3",
        }
    }
}

#[cfg(test)]
mod tests;
