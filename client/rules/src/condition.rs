//! One condition: a comparison of a number, or a set of classes.
//!
//! ```text
//! confidence >= 0.9        entropy <= 1.5        margin > 0.2
//! input.age in [0, 120]    prediction in {cat, dog}    prediction not in {other}
//! ```

use std::fmt;

/// A number that an answer has.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Quantity {
    /// Mean probability of the prediction, 0 to 1.
    Confidence,
    /// Share of the passes that agree, 0 to 1.
    Agreement,
    /// Confidence less the next class's probability, 0 to 1.
    Margin,
    /// Entropy of the mean probabilities in bits, at least 0.
    Entropy,
    /// A value of the input, by name.
    Input(String),
}

impl Quantity {
    /// Smallest and largest possible value.
    pub(crate) fn bounds(&self) -> (f64, f64) {
        match self {
            Self::Confidence | Self::Agreement | Self::Margin => (0.0, 1.0),
            Self::Entropy => (0.0, f64::INFINITY),
            Self::Input(_) => (f64::NEG_INFINITY, f64::INFINITY),
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Confidence => "confidence",
            Self::Agreement => "agreement",
            Self::Margin => "margin",
            Self::Entropy => "entropy",
            Self::Input(name) => return write!(f, "input.{name}"),
        })
    }
}

/// How a number is compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Comparison {
    /// At least.
    AtLeast(f64),
    /// More than.
    Above(f64),
    /// At most.
    AtMost(f64),
    /// Less than.
    Below(f64),
    /// Between two values, both included.
    Within(f64, f64),
}

impl Comparison {
    /// Whether a value passes; NaN passes nothing.
    pub fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::Above(bound) => value > bound,
            Self::AtMost(most) => value <= most,
            Self::Below(bound) => value < bound,
            Self::Within(least, most) => value >= least && value <= most,
        }
    }
}

/// What must hold of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// A number compares so.
    Number(Quantity, Comparison),
    /// The prediction is one of these classes (`true`) or none of them.
    Prediction(bool, Vec<String>),
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(quantity, comparison) => match comparison {
                Comparison::AtLeast(v) => write!(f, "{quantity} >= {v}"),
                Comparison::Above(v) => write!(f, "{quantity} > {v}"),
                Comparison::AtMost(v) => write!(f, "{quantity} <= {v}"),
                Comparison::Below(v) => write!(f, "{quantity} < {v}"),
                Comparison::Within(a, b) => write!(f, "{quantity} in [{a}, {b}]"),
            },
            Self::Prediction(is_in, classes) => {
                let not = if *is_in { "" } else { "not " };
                write!(f, "prediction {not}in {{{}}}", classes.join(", "))
            }
        }
    }
}

impl Condition {
    /// Reads a condition.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence without the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Some(rest) = text.strip_prefix("prediction") {
            return parse_prediction(rest.trim());
        }
        for (sign, make) in [
            (">=", Comparison::AtLeast as fn(f64) -> Comparison),
            ("<=", Comparison::AtMost),
            (">", Comparison::Above),
            ("<", Comparison::Below),
        ] {
            if let Some((name, value)) = text.split_once(sign) {
                return Ok(Self::Number(quantity(name)?, make(number(value)?)));
            }
        }
        let (name, range) = text
            .split_once(" in ")
            .ok_or("no comparison: write >=, <=, >, <, `in [a, b]` or `prediction in {…}`")?;
        let inside = range
            .trim()
            .strip_prefix('[')
            .and_then(|r| r.strip_suffix(']'));
        let (low, high) = inside
            .and_then(|inside| inside.split_once(','))
            .ok_or("a range is written [a, b]")?;
        let (low, high) = (number(low)?, number(high)?);
        if low > high {
            return Err(format!("the range begins at {low} and ends at {high}"));
        }
        Ok(Self::Number(quantity(name)?, Comparison::Within(low, high)))
    }
}

fn parse_prediction(rest: &str) -> Result<Condition, String> {
    let (is_in, rest) = match rest.strip_prefix("not ") {
        Some(rest) => (false, rest.trim()),
        None => (true, rest),
    };
    let set = rest.strip_prefix("in").map(str::trim);
    let inside = set.and_then(|set| set.strip_prefix('{')?.strip_suffix('}'));
    let inside = inside.ok_or("a set of classes is written `prediction in {a, b}`")?;
    let classes: Vec<String> = inside
        .split(',')
        .map(|class| class.trim().to_owned())
        .filter(|class| !class.is_empty())
        .collect();
    if classes.is_empty() {
        return Err("the set of classes is empty".to_owned());
    }
    Ok(Condition::Prediction(is_in, classes))
}

fn quantity(name: &str) -> Result<Quantity, String> {
    match name.trim() {
        "confidence" => Ok(Quantity::Confidence),
        "agreement" => Ok(Quantity::Agreement),
        "margin" => Ok(Quantity::Margin),
        "entropy" => Ok(Quantity::Entropy),
        other => match other.strip_prefix("input.") {
            Some(name) if !name.is_empty() => Ok(Quantity::Input(name.to_owned())),
            _ => Err(format!(
                "there is no quantity \"{other}\": choose confidence, agreement, margin, \
                 entropy or input.NAME"
            )),
        },
    }
}

fn number(text: &str) -> Result<f64, String> {
    let text = text.trim();
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err(format!("\"{text}\" is not a finite number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for text in [
            "confidence >= 0.9",
            "agreement > 0.5",
            "entropy <= 1.5",
            "margin < 0.25",
            "input.age in [-1, 120]",
            "prediction in {cat, dog}",
            "prediction not in {cat}",
        ] {
            assert_eq!(Condition::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_cannot_be_read_is_explained() {
        let cases = [
            ("certainty >= 1", "there is no quantity \"certainty\""),
            ("confidence >= high", "\"high\" is not a finite number"),
            ("confidence >= NaN", "is not a finite number"),
            ("confidence", "no comparison"),
            ("margin in [2, 1]", "begins at 2 and ends at 1"),
            ("margin in 1, 2", "written [a, b]"),
            ("prediction is cat", "prediction in {a, b}"),
            ("prediction in {}", "is empty"),
            ("input. > 1", "there is no quantity"),
        ];
        for (text, reason) in cases {
            let error = Condition::parse(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn nan_passes_nothing() {
        for comparison in [
            Comparison::AtLeast(0.0),
            Comparison::Below(9.0),
            Comparison::Within(-1.0, 1.0),
        ] {
            assert!(!comparison.holds(f64::NAN));
        }
    }
}
