//! Numbers and errors as people read them.

use std::error::Error;

/// Keeps a number and its unit, or groups of digits, on one line.
const THIN_SPACE: char = '\u{202f}';
/// Prefixes from large to small.
const PREFIXES: [(f64, &str); 5] = [(1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];

/// Double hashes a second with three figures, as in `441 GH/s`.
pub(crate) fn hash_rate(hps: f64) -> String {
    let (unit, prefix) = prefix_of(hps);
    format!("{} {prefix}H/s", three_figures(hps / unit))
}

/// The largest unit that is not above `number`, and its prefix.
pub(crate) fn prefix_of(number: f64) -> (f64, &'static str) {
    let found = PREFIXES.into_iter().find(|(unit, _)| number >= *unit);
    found.unwrap_or((1.0, ""))
}

fn three_figures(number: f64) -> String {
    let decimals = if number == 0.0 || number >= 99.95 {
        0
    } else if number >= 9.995 {
        1
    } else {
        2
    };
    format!("{number:.decimals$}")
}

/// A whole number in thin groups of three.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 2);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(THIN_SPACE);
        }
        text.push(digit);
    }
    text
}

/// A count with its noun.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    let noun = if number == 1 { one } else { many };
    format!("{} {noun}", grouped(number))
}

/// A share of 0 to 1, in per cent; the nearer to an end, the more decimals, so that
/// only what is nothing or all reads so.
pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let decimals = if percent <= 0.0 || percent >= 100.0 {
        0
    } else if percent < 0.095 {
        2
    } else if !(9.95..=99.0).contains(&percent) {
        1
    } else {
        0
    };
    let most = if percent < 100.0 { 99.9 } else { 100.0 };
    format!("{:.decimals$} %", percent.min(most))
}

/// An error and what caused it as one sentence without a final stop.
pub(crate) fn sentence(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        line.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    capitalised(&line)
}

/// A time in seconds, as short as it is useful.
pub(crate) fn seconds(seconds: f64) -> String {
    if seconds < 1.0 {
        format!("{:.0} ms", seconds * 1e3)
    } else {
        format!("{seconds:.1} s")
    }
}

/// A number of hashes in words, as in `344 thousand`.
pub(crate) fn in_words(number: f64) -> String {
    let (unit, prefix) = prefix_of(number);
    let name = match prefix {
        "k" => " thousand",
        "M" => " million",
        "G" => " billion",
        "T" => " trillion",
        "P" => " quadrillion",
        _ => return grouped(number.round() as u64),
    };
    format!("{}{name}", three_figures(number / unit))
}

/// The first letter in upper case.
pub(crate) fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

/// Several things as `a, b and c`.
pub(crate) fn listed(things: &[String]) -> String {
    match things {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_three_figures_and_a_unit() {
        for (hps, text) in [
            (0.0, "0 H/s"),
            (7.0, "7.00 H/s"),
            (1_720_000.0, "1.72 MH/s"),
            (13.3e6, "13.3 MH/s"),
            (441e9, "441 GH/s"),
            (1e12, "1.00 TH/s"),
        ] {
            assert_eq!(hash_rate(hps), text);
        }
    }

    #[test]
    fn counts_are_grouped_and_have_their_noun() {
        assert_eq!(counted(1, "work", "works"), "1 work");
        assert_eq!(counted(0, "work", "works"), "0 works");
        assert_eq!(
            counted(1_234_567, "work", "works"),
            "1\u{202f}234\u{202f}567 works"
        );
        assert_eq!(in_words(344_064.0), "344 thousand");
        assert_eq!(in_words(90.2e9), "90.2 billion");
        assert_eq!(in_words(512.0), "512");
    }

    #[test]
    fn shares_and_times_are_short() {
        assert_eq!(percent(0.0), "0 %");
        assert_eq!(percent(0.0123), "1.2 %");
        assert_eq!(percent(0.0004), "0.04 %");
        assert_eq!(percent(0.5), "50 %");
        assert_eq!(percent(0.99999), "99.9 %");
        assert_eq!(percent(1.0), "100 %");
        assert_eq!(seconds(0.0421), "42 ms");
        assert_eq!(seconds(12.34), "12.3 s");
    }

    #[test]
    fn lists_read_as_sentences() {
        let things = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(listed(&things), "a, b and c");
        assert_eq!(listed(&things[..1]), "a");
        assert_eq!(capitalised("too hot"), "Too hot");
        assert_eq!(capitalised(""), "");
    }
}
