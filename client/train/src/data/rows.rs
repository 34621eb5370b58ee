//! Comma-separated rows of 64 pixels, with or without a label after them.

use super::{IMAGE_PIXELS, PIXEL_MAX};

/// Rows of one file at most: 64 MB of pixels.
pub const ROWS_MAX: usize = 1_000_000;
/// Largest label; the images have ten classes.
pub const LABEL_MAX: u8 = 9;
/// Characters of a refused cell that an error repeats.
const SHOWN_MAX: usize = 20;

/// One image of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageRow {
    /// 8 × 8 pixels, row-major, 0 to 16.
    pub pixels: [u8; IMAGE_PIXELS],
    /// 0 to 9, if the row has a 65th column.
    pub label: Option<u8>,
}

/// Whether rows must have a 65th column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Labels {
    /// Exactly 65 columns, as for training.
    Required,
    /// 64 or 65 columns, as for prediction.
    Optional,
}

/// What is wrong with one cell.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CellProblem {
    /// Nothing between two commas.
    #[error("is empty")]
    Empty,
    /// The cell says NaN.
    #[error("is NaN")]
    Nan,
    /// No number at all.
    #[error("is not a number")]
    NotANumber,
    /// A number with a fraction.
    #[error("is not a whole number")]
    NotWhole,
    /// A whole number outside the column's range.
    #[error("is outside 0 to {0}")]
    OutOfRange(u8),
}

/// Why a text is no table of images. Rows and columns count from 1; a row is a
/// line of the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RowError {
    /// One cell cannot be used.
    #[error("row {row}, column {column}: \"{value}\" {problem}")]
    Cell {
        /// Line of the file.
        row: usize,
        /// Cell of the line.
        column: usize,
        /// The cell, cut to 20 characters.
        value: String,
        /// What is wrong with it.
        problem: CellProblem,
    },
    /// A row of another length.
    #[error("row {row} has {got} columns, must have {expected}")]
    ColumnCount {
        /// Line of the file.
        row: usize,
        /// Columns it has.
        got: usize,
        /// Columns it may have.
        expected: &'static str,
    },
    /// More rows than [`ROWS_MAX`].
    #[error("more than {ROWS_MAX} rows")]
    TooManyRows,
    /// No row at all.
    #[error("no rows")]
    Empty,
}

/// The rows of a comma-separated text without a heading. Blank lines are passed
/// over; spaces around a number and a fraction of zero (`7.0`) are accepted.
///
/// # Errors
/// [`RowError`] names the first row and column that cannot be used.
pub fn parse_rows(text: &str, labels: Labels) -> Result<Vec<ImageRow>, RowError> {
    let mut rows = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        if rows.len() == ROWS_MAX {
            return Err(RowError::TooManyRows);
        }
        rows.push(parse_row(line, at + 1, labels)?);
    }
    if rows.is_empty() {
        Err(RowError::Empty)
    } else {
        Ok(rows)
    }
}

fn parse_row(line: &str, row: usize, labels: Labels) -> Result<ImageRow, RowError> {
    let got = line.split(',').count();
    let (least, expected) = match labels {
        Labels::Required => (IMAGE_PIXELS + 1, "65: 64 pixels and a label"),
        Labels::Optional => (IMAGE_PIXELS, "64 or 65: 64 pixels, and a label if known"),
    };
    if !(least..=IMAGE_PIXELS + 1).contains(&got) {
        return Err(RowError::ColumnCount { row, got, expected });
    }
    let mut image = ImageRow {
        pixels: [0; IMAGE_PIXELS],
        label: None,
    };
    for (at, cell) in line.split(',').map(str::trim).enumerate() {
        let most = if at < IMAGE_PIXELS {
            PIXEL_MAX
        } else {
            LABEL_MAX
        };
        let number = parse_cell(cell, most).map_err(|problem| RowError::Cell {
            row,
            column: at + 1,
            value: cell.chars().take(SHOWN_MAX).collect(),
            problem,
        })?;
        match image.pixels.get_mut(at) {
            Some(pixel) => *pixel = number,
            None => image.label = Some(number),
        }
    }
    Ok(image)
}

fn parse_cell(cell: &str, most: u8) -> Result<u8, CellProblem> {
    if cell.is_empty() {
        return Err(CellProblem::Empty);
    }
    let number: f64 = cell.parse().map_err(|_| CellProblem::NotANumber)?;
    if number.is_nan() {
        Err(CellProblem::Nan)
    } else if !(0.0..=f64::from(most)).contains(&number) {
        Err(CellProblem::OutOfRange(most))
    } else if number.fract() != 0.0 {
        Err(CellProblem::NotWhole)
    } else {
        Ok(number as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row_with(column: usize, cell: &str) -> String {
        let mut cells = vec!["3"; 65];
        cells[column - 1] = cell;
        cells.join(",")
    }

    #[test]
    fn every_bad_cell_is_named_by_row_column_and_reason() {
        let cases = [
            (7, "NaN", "row 2, column 7: \"NaN\" is NaN"),
            (7, "", "row 2, column 7: \"\" is empty"),
            (1, "x1", "row 2, column 1: \"x1\" is not a number"),
            (64, "17", "row 2, column 64: \"17\" is outside 0 to 16"),
            (64, "-1", "row 2, column 64: \"-1\" is outside 0 to 16"),
            (3, "inf", "row 2, column 3: \"inf\" is outside 0 to 16"),
            (3, "2.5", "row 2, column 3: \"2.5\" is not a whole number"),
            (65, "10", "row 2, column 65: \"10\" is outside 0 to 9"),
        ];
        for (column, cell, expected) in cases {
            let text = format!("{}\n{}\n", row_with(1, "0"), row_with(column, cell));
            let error = parse_rows(&text, Labels::Required).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn rows_of_another_length_are_refused() {
        let text = |columns: usize, labels| {
            parse_rows(&vec!["1"; columns].join(","), labels)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            text(63, Labels::Optional),
            "row 1 has 63 columns, must have 64 or 65: 64 pixels, and a label if known"
        );
        assert_eq!(
            text(64, Labels::Required),
            "row 1 has 64 columns, must have 65: 64 pixels and a label"
        );
        assert_eq!(parse_rows("\n \n", Labels::Optional), Err(RowError::Empty));
    }

    #[test]
    fn spaces_blank_lines_and_whole_fractions_are_accepted() {
        let text = format!("\r\n{}\r\n\r\n", row_with(2, " 16.0 "));
        let rows = parse_rows(&text, Labels::Required).unwrap();
        assert_eq!((rows[0].pixels[1], rows[0].label), (16, Some(3)));
        let rows = parse_rows(&vec!["1"; 64].join(","), Labels::Optional).unwrap();
        assert_eq!(rows[0].label, None);
    }

    #[test]
    fn a_long_cell_is_cut_in_the_error() {
        let text = row_with(1, &"é".repeat(500));
        let Err(RowError::Cell { value, .. }) = parse_rows(&text, Labels::Required) else {
            panic!("accepted");
        };
        assert_eq!(value.chars().count(), SHOWN_MAX);
    }

    proptest! {
        #[test]
        fn rows_come_back_as_they_were_written(
            pixels in proptest::collection::vec(0u8..=16, 64),
            label in proptest::option::of(0u8..=9),
        ) {
            let cells = pixels.iter().chain(&label).map(u8::to_string);
            let text = cells.collect::<Vec<_>>().join(",");
            let rows = parse_rows(&text, Labels::Optional).unwrap();
            prop_assert_eq!(rows.len(), 1);
            prop_assert_eq!(&rows[0].pixels[..], &pixels[..]);
            prop_assert_eq!(rows[0].label, label);
        }

        #[test]
        fn any_cells_are_parsed_or_refused_without_panic(
            cells in proptest::collection::vec("[0-9]{0,2}|[-0-9.eEnNaAiIfF+ \u{e9}]{0,6}", 60..68),
        ) {
            if let Ok(rows) = parse_rows(&cells.join(","), Labels::Optional) {
                prop_assert!(rows[0].pixels.iter().all(|p| *p <= PIXEL_MAX));
            }
        }

        #[test]
        fn any_text_is_parsed_or_refused_without_panic(text: String) {
            let _ = parse_rows(&text, Labels::Optional);
        }
    }
}
