//! A value from the bus, whatever its exact type.
//!
//! Owns the tolerance towards the daemon: a property that is missing or of an
//! unexpected type reads as nothing, never as an error, so that an app and a
//! daemon of different versions still get along.

use std::collections::BTreeMap;

/// The properties of one interface by name.
pub type Properties = BTreeMap<String, Value>;

/// A value as the bus carries it.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `b`.
    Bool(bool),
    /// `y`, `q`, `u`, `t`.
    Natural(u64),
    /// `n`, `i`, `x`.
    Integer(i64),
    /// `d`.
    Real(f64),
    /// `s`, `o`, `g`.
    Text(String),
    /// Arrays and structures.
    List(Vec<Value>),
    /// Dictionaries with text keys.
    Map(BTreeMap<String, Value>),
    /// Anything else, such as a descriptor.
    Other,
}

impl Value {
    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if it is a whole one and not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Natural(number) => Some(*number),
            Self::Integer(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// The number, if it is one and finite.
    pub fn as_f64(&self) -> Option<f64> {
        let number = match self {
            Self::Natural(number) => *number as f64,
            Self::Integer(number) => *number as f64,
            Self::Real(number) => *number,
            _ => return None,
        };
        number.is_finite().then_some(number)
    }

    /// The parts, if it is a list.
    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Self::List(values) => Some(values),
            _ => None,
        }
    }
}

/// Reads properties by name; what is not there reads as zero, empty or nothing.
pub(crate) struct Reader<'a>(pub(crate) &'a Properties);

impl Reader<'_> {
    pub(crate) fn text(&self, name: &str) -> String {
        let text = self.0.get(name).and_then(Value::as_text);
        text.unwrap_or_default().to_owned()
    }

    /// The text, unless it is empty.
    pub(crate) fn some_text(&self, name: &str) -> Option<String> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    pub(crate) fn u64(&self, name: &str) -> u64 {
        let number = self.0.get(name).and_then(Value::as_u64);
        number.unwrap_or_default()
    }

    /// The number, at most `u32::MAX`.
    pub(crate) fn u32(&self, name: &str) -> u32 {
        u32::try_from(self.u64(name)).unwrap_or(u32::MAX)
    }

    pub(crate) fn f64(&self, name: &str) -> f64 {
        let number = self.0.get(name).and_then(Value::as_f64);
        number.unwrap_or_default()
    }

    pub(crate) fn numbers(&self, name: &str) -> Vec<f64> {
        let list = self.0.get(name).and_then(Value::as_list);
        let list = list.unwrap_or_default();
        list.iter().filter_map(Value::as_f64).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_or_odd_property_reads_as_nothing() {
        let properties = Properties::from([
            ("Model".to_owned(), Value::Natural(3)),
            ("Chips".to_owned(), Value::Text("many".to_owned())),
            ("FrequencyMhz".to_owned(), Value::Real(f64::NAN)),
        ]);
        let reader = Reader(&properties);
        assert_eq!(reader.text("Model"), "");
        assert_eq!(reader.some_text("Missing"), None);
        assert_eq!(reader.u64("Chips"), 0);
        assert_eq!(reader.f64("FrequencyMhz"), 0.0);
        assert_eq!(reader.numbers("Chips"), Vec::<f64>::new());
    }

    #[test]
    fn whole_numbers_of_any_width_are_read() {
        let properties = Properties::from([
            ("A".to_owned(), Value::Integer(7)),
            ("B".to_owned(), Value::Natural(u64::MAX)),
            ("C".to_owned(), Value::Integer(-1)),
            (
                "D".to_owned(),
                Value::List(vec![Value::Natural(1), Value::Real(2.5), Value::Other]),
            ),
        ]);
        let reader = Reader(&properties);
        assert_eq!(reader.u32("A"), 7);
        assert_eq!(reader.u32("B"), u32::MAX);
        assert_eq!(reader.u64("C"), 0);
        assert_eq!(reader.numbers("D"), [1.0, 2.5]);
    }
}
