//! What a setting's value may be, and how values are written.

use std::fmt;

use hasher_wire::Text;
use toml::Spanned;
use toml::de::{DeArray, DeValue};

use super::line::Lines;

/// Most bytes of a found value that a message repeats.
const FOUND_BYTES_MAX: usize = 64;

/// The form and range of a setting's value.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Kind {
    /// A whole number of a range, both ends included.
    Whole {
        /// Smallest.
        least: u64,
        /// Largest.
        most: u64,
    },
    /// A number that may have a fraction; what it means decides which are legal.
    Decimal,
    /// `true` or `false`.
    Flag,
    /// A text of at most so many bytes.
    Text {
        /// Longest, in bytes of UTF-8.
        bytes_max: usize,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of texts.
    List {
        /// Most texts.
        items_max: usize,
    },
}

impl fmt::Display for Kind {
    /// What is expected: `a whole number from 1 to 256`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole { least, most } => write!(f, "a whole number from {least} to {most}"),
            Self::Decimal => f.write_str("a number"),
            Self::Flag => f.write_str("true or false"),
            Self::Text { bytes_max } => write!(f, "a text of at most {bytes_max} bytes"),
            Self::Choice(words) => {
                let words: Vec<_> = words.iter().map(|word| quoted(word)).collect();
                write!(f, "one of {}", words.join(", "))
            }
            Self::List { items_max } => write!(f, "a list of at most {items_max} texts"),
        }
    }
}

/// A value of a [`Kind`].
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Whole(u64),
    Decimal(f64),
    Flag(bool),
    Text(String),
    List(Vec<Item>),
}

/// A text of a list, and its line in the file; 0 when it is not from the file.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) text: String,
    pub(super) line: usize,
}

impl PartialEq for Item {
    /// The line is no part of the value.
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Display for Value {
    /// As in the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(number) => number.fmt(f),
            Self::Decimal(number) => number.fmt(f),
            Self::Flag(flag) => flag.fmt(f),
            Self::Text(text) => quoted(text).fmt(f),
            Self::List(items) => {
                let items: Vec<_> = items.iter().map(|item| quoted(&item.text)).collect();
                write!(f, "[{}]", items.join(", "))
            }
        }
    }
}

impl Kind {
    /// The value, if it is of this kind.
    pub(super) fn read(self, value: &DeValue<'_>, lines: &Lines) -> Option<Value> {
        match (self, value) {
            (Self::Whole { least, most }, DeValue::Integer(number)) => {
                let number = u64::from_str_radix(number.as_str(), number.radix()).ok()?;
                (least..=most)
                    .contains(&number)
                    .then_some(Value::Whole(number))
            }
            (Self::Decimal, DeValue::Integer(number)) => {
                let number = u32::from_str_radix(number.as_str(), number.radix()).ok()?;
                Some(Value::Decimal(number.into()))
            }
            (Self::Decimal, DeValue::Float(number)) => {
                let number: f64 = number.as_str().parse().ok()?;
                number.is_finite().then_some(Value::Decimal(number))
            }
            (Self::Flag, DeValue::Boolean(flag)) => Some(Value::Flag(*flag)),
            (Self::Text { bytes_max }, DeValue::String(text)) if text.len() <= bytes_max => {
                Some(Value::Text(text.to_string()))
            }
            (Self::Choice(words), DeValue::String(text)) if words.contains(&&**text) => {
                Some(Value::Text(text.to_string()))
            }
            (Self::List { items_max }, DeValue::Array(items)) if items.len() <= items_max => items
                .iter()
                .map(|item| list_item(item, lines))
                .collect::<Option<_>>()
                .map(Value::List),
            _ => None,
        }
    }
}

fn list_item(item: &Spanned<DeValue<'_>>, lines: &Lines) -> Option<Item> {
    let DeValue::String(text) = item.get_ref() else {
        return None;
    };
    Some(Item {
        text: text.to_string(),
        line: lines.of(item.span()),
    })
}

/// What stands in the file instead, for a message.
pub(super) fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => quoted(&clip(text)),
        DeValue::Integer(number) => clip(&number.to_string()),
        DeValue::Float(number) => clip(number.as_str()),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(items) => found_list(items),
        DeValue::Table(_) => "a section".to_owned(),
    }
}

fn found_list(items: &DeArray<'_>) -> String {
    let other = items.iter().find(|item| !item.get_ref().is_str());
    match other {
        Some(item) if !matches!(item.get_ref(), DeValue::Array(_)) => {
            format!("a list with {}", found(item.get_ref()))
        }
        Some(_) => "a list of lists".to_owned(),
        None => format!("a list of {}", items.len()),
    }
}

/// The beginning of a text that may be long.
pub(super) fn clip(text: &str) -> String {
    Text::<FOUND_BYTES_MAX>::new(text).to_string()
}

/// A text as a basic string of TOML.
pub(super) fn quoted(text: &str) -> String {
    let mut written = String::with_capacity(text.len() + 2);
    written.push('"');
    for letter in text.chars() {
        match letter {
            '"' => written.push_str("\\\""),
            '\\' => written.push_str("\\\\"),
            letter if letter.is_control() => {
                written.push_str(&format!("\\u{:04X}", u32::from(letter)));
            }
            letter => written.push(letter),
        }
    }
    written.push('"');
    written
}
