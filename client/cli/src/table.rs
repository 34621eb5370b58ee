//! Columns for people.
//!
//! Owns the alignment of small tables; pure text in, text out.

/// How a column is aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Spaces between two columns.
const GAP: usize = 2;

/// The rows as lines, each column as wide as its widest cell, without spaces at
/// the ends. `columns` names and aligns them; the names are the first line.
pub fn lines(columns: &[(&str, Align)], rows: &[Vec<String>]) -> Vec<String> {
    let header: Vec<String> = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
    let all: Vec<&Vec<String>> = std::iter::once(&header).chain(rows).collect();
    let widths: Vec<usize> = (0..columns.len())
        .map(|column| {
            all.iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    all.iter()
        .map(|row| {
            let cells = row.iter().zip(columns).zip(&widths);
            let line: Vec<String> = cells
                .map(|((cell, (_, align)), width)| pad(cell, *width, *align))
                .collect();
            line.join(&" ".repeat(GAP)).trim_end().to_owned()
        })
        .collect()
}

fn pad(cell: &str, width: usize, align: Align) -> String {
    let spaces = " ".repeat(width.saturating_sub(cell.chars().count()));
    match align {
        Align::Left => format!("{cell}{spaces}"),
        Align::Right => format!("{spaces}{cell}"),
    }
}

/// The first `max` characters of a text that another program chose, so that nothing
/// in it can steer the terminal.
pub fn printable(text: &str, max: usize) -> String {
    text.chars()
        .take(max)
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

/// A line broken between words so that no part is wider than `columns`, unless one
/// word is. Later parts are indented two columns more than the first.
pub fn wrapped(line: &str, columns: usize) -> Vec<String> {
    let indent = line.len() - line.trim_start_matches(' ').len();
    let mut parts = vec![" ".repeat(indent)];
    for word in line.split_whitespace() {
        let part = parts.last_mut().expect("there is a first part");
        let is_new = part.trim_start().is_empty();
        if is_new {
            part.push_str(word);
        } else if part.chars().count() + 1 + word.chars().count() <= columns {
            part.push(' ');
            part.push_str(word);
        } else {
            parts.push(" ".repeat(indent + 2) + word);
        }
    }
    parts
}

/// A whole number with thin groups of three, as in `4 928`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// A count in at most six characters: exact as long as it is short, then with a prefix.
pub fn count(number: u64) -> String {
    match number {
        0..100_000 => grouped(number),
        _ => metric(number as f64, ""),
    }
}

/// A number of hashes with three figures, as people say it: `1.76 million hashes`.
pub fn hashes_in_words(hashes: f64) -> String {
    const NAMES: [(f64, &str); 5] = [
        (1e18, "quintillion"),
        (1e15, "quadrillion"),
        (1e12, "trillion"),
        (1e9, "billion"),
        (1e6, "million"),
    ];
    match NAMES.into_iter().find(|(unit, _)| hashes >= *unit) {
        // Beyond this nobody has a name for it.
        Some(_) if hashes >= 1e21 => format!("{hashes:.2e} hashes"),
        Some((unit, name)) => format!("{} {name} hashes", three_figures(hashes / unit)),
        None => format!("{} hashes", grouped(hashes.round() as u64)),
    }
}

/// A rate with three figures and its prefix: `440 GH/s`.
pub fn metric(number: f64, unit: &str) -> String {
    const PREFIXES: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];
    if number == 0.0 {
        return format!("0 {unit}").trim_end().to_owned();
    }
    let mut number = number;
    let mut prefix = 0;
    while number.abs() >= 999.5 && prefix + 1 < PREFIXES.len() {
        number /= 1000.0;
        prefix += 1;
    }
    let text = format!("{} {}{unit}", three_figures(number), PREFIXES[prefix]);
    text.trim_end().to_owned()
}

fn three_figures(number: f64) -> String {
    let decimals = match number.abs() {
        n if n < 9.995 => 2,
        n if n < 99.95 => 1,
        _ => 0,
    };
    format!("{number:.decimals$}")
}

/// Seconds as people say them.
pub fn seconds(seconds: f64) -> String {
    match seconds {
        s if !s.is_finite() => "an unknown time".to_owned(),
        s if s < 0.1 => format!("{:.0} ms", s * 1000.0),
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.0} days", s / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let lines = lines(
            &[("NAME", Align::Left), ("N", Align::Right)],
            &[
                vec!["a".to_owned(), "10".to_owned()],
                vec!["longer".to_owned(), "7".to_owned()],
            ],
        );
        assert_eq!(lines, ["NAME     N", "a       10", "longer   7"]);
    }

    #[test]
    fn a_long_line_is_broken_between_words_and_indented() {
        assert_eq!(wrapped("  ab cd ef", 10), ["  ab cd ef"]);
        assert_eq!(wrapped("  ab cd ef", 8), ["  ab cd", "    ef"]);
        assert_eq!(wrapped(" ü abcdefgh", 4), [" ü", "   abcdefgh"]);
        assert_eq!(wrapped("", 4), [""]);
    }

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(grouped(4928), "4 928");
        assert_eq!(grouped(12), "12");
        assert_eq!(grouped(1_000_000), "1 000 000");
        assert_eq!(count(99_999), "99 999");
        assert_eq!(count(1_234_567), "1.23 M");
        assert_eq!(count(u64::MAX), "18.4 E");
        assert_eq!(metric(0.0, "H/s"), "0 H/s");
        assert_eq!(hashes_in_words(4_294_967_296.0), "4.29 billion hashes");
        assert_eq!(hashes_in_words(81_920.0), "81 920 hashes");
        assert_eq!(hashes_in_words(2f64.powi(60)), "1.15 quintillion hashes");
        assert_eq!(hashes_in_words(2f64.powi(80)), "1.21e24 hashes");
        assert_eq!(metric(440e9, "H/s"), "440 GH/s");
        assert_eq!(metric(999.9e6, "H/s"), "1.00 GH/s");
        assert_eq!(metric(12.0, "H/s"), "12.0 H/s");
        assert_eq!(seconds(0.004), "4 ms");
        assert_eq!(seconds(61.0), "61 s");
        assert_eq!(seconds(7300.0), "2.0 h");
        assert_eq!(seconds(f64::INFINITY), "an unknown time");
    }
}
