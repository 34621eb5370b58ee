//! Tables with a heading: comma-separated text.

use std::path::Path;

use csv::{ErrorKind, ReaderBuilder, StringRecord};

use super::read_text;
use crate::error::DataError;

/// Most rows of a table.
pub(crate) const ROWS_MAX: usize = 1_000_000;
/// Most columns of a table.
const COLUMNS_MAX: usize = 1024;

/// A table of texts; every row has as many cells as the heading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    pub names: Vec<String>,
    /// Line of the file and cells.
    pub rows: Vec<(u64, Vec<String>)>,
}

/// Reads a file, gzip or not.
pub(crate) fn read_table(path: &Path) -> Result<Table, DataError> {
    parse(path, &read_text(path)?)
}

fn parse(path: &Path, text: &str) -> Result<Table, DataError> {
    let mut reader = ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let wrong = |error: csv::Error| {
        let line = error.position().map(|at| line_of(text, at));
        let reason = match error.kind() {
            ErrorKind::UnequalLengths {
                expected_len, len, ..
            } => format!("{len} columns, the heading has {expected_len}"),
            _ => error.to_string(),
        };
        let error = DataError::of(path, reason);
        match line {
            Some(line) => error.at(line),
            None => error,
        }
    };
    let cells = |record: &StringRecord| record.iter().map(str::to_owned).collect::<Vec<_>>();
    let names = cells(reader.headers().map_err(wrong)?);
    if names.len() > COLUMNS_MAX {
        let reason = format!("{} columns, at most {COLUMNS_MAX} are read", names.len());
        return Err(DataError::of(path, reason));
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(wrong)?;
        if rows.len() == ROWS_MAX {
            return Err(DataError::of(path, format!("more than {ROWS_MAX} rows")));
        }
        let line = record.position().map_or(0, |at| line_of(text, at));
        rows.push((line, cells(&record)));
    }
    if rows.is_empty() {
        return Err(DataError::of(path, "no rows under the heading"));
    }
    Ok(Table { names, rows })
}

/// The line on which a record begins. The reader's position is where the record
/// before it ended, blank lines not yet passed.
fn line_of(text: &str, position: &csv::Position) -> u64 {
    let rest = &text.as_bytes()[(position.byte() as usize).min(text.len())..];
    let blank = rest.iter().take_while(|b| b.is_ascii_whitespace());
    position.line() + blank.filter(|b| **b == b'\n').count() as u64
}

/// A cell as a finite number.
pub(crate) fn number(path: &Path, line: u64, column: &str, cell: &str) -> Result<f64, DataError> {
    /// Characters of a refused cell that an error repeats.
    const SHOWN_MAX: usize = 20;
    let problem = match cell.parse::<f64>() {
        Ok(value) if value.is_finite() => return Ok(value),
        _ if cell.is_empty() => "is empty",
        Ok(value) if value.is_nan() => "is NaN",
        Ok(_) => "is infinite",
        Err(_) => "is not a number",
    };
    let shown: String = cell.chars().take(SHOWN_MAX).collect();
    let reason = format!("column \"{column}\": \"{shown}\" {problem}");
    Err(DataError::of(path, reason).at(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(text: &str) -> String {
        parse(Path::new("t.csv"), text).unwrap_err().to_string()
    }

    #[test]
    fn rows_are_read_with_their_lines() {
        let table = parse(Path::new("t.csv"), "a,b\n1, x\n\n\"2,5\",y\n").unwrap();
        assert_eq!(table.names, ["a", "b"]);
        assert_eq!(table.rows[0], (2, vec!["1".to_owned(), "x".to_owned()]));
        assert_eq!(table.rows[1].0, 4);
        assert_eq!(table.rows[1].1[0], "2,5");
    }

    #[test]
    fn ragged_and_missing_rows_are_named_with_their_line() {
        assert_eq!(
            reason("a,b\n1,2\n1\n"),
            "t.csv:3: 1 columns, the heading has 2"
        );
        assert_eq!(reason("a,b\n"), "t.csv: no rows under the heading");
    }

    #[test]
    fn every_bad_cell_is_named_by_line_column_and_reason() {
        let of = |cell| number(Path::new("t.csv"), 7, "age", cell).map_err(|e| e.to_string());
        assert_eq!(of("1e3"), Ok(1000.0));
        let cases = [
            ("", "is empty"),
            ("NaN", "is NaN"),
            ("inf", "is infinite"),
            ("x", "is not a number"),
        ];
        for (cell, problem) in cases {
            let expected = format!("t.csv:7: column \"age\": \"{cell}\" {problem}");
            assert_eq!(of(cell), Err(expected));
        }
    }
}
