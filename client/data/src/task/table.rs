//! Rows of numbers: classes, and rows unlike the others.

use std::path::Path;

use hasher_train::data::{DataShape, Dataset};

use super::image::read_labels;
use super::{LoadOptions, Loaded, parts};
use crate::error::DataError;
use crate::file::npy::read_npy;
use crate::file::table::{Table, number, read_table};
use crate::recipe::{BYTE_FRACTION, Column, Recipe, column_code};
use crate::split::{Stream, order, split};

/// Rows of numbers with labels.
struct Rows {
    names: Vec<String>,
    values: Vec<Vec<f64>>,
    labels: Vec<u8>,
    classes: Vec<String>,
}

pub(super) fn load(source: &str, options: &LoadOptions) -> Result<Loaded, DataError> {
    let rows = read(source, options)?;
    let (train, test) = parts(rows.values.len(), options);
    for (class, name) in rows.classes.iter().enumerate() {
        if !train
            .iter()
            .any(|row| usize::from(rows.labels[*row]) == class)
        {
            let reason = format!("class \"{name}\" is empty: no training row has it");
            return Err(DataError::new(source, reason).hint("add rows, or keep fewer for the test"));
        }
    }
    let columns = columns(&rows, &train);
    finish(source, rows, columns, train, test)
}

/// Normal rows against rows whose values are drawn column by column from other normal
/// rows: what ties the columns together is then the only thing to be learned. The test
/// part has normal rows that were kept back and all rows that are not normal.
pub(super) fn load_anomaly(source: &str, options: &LoadOptions) -> Result<Loaded, DataError> {
    let rows = read(source, options)?;
    let normal = options.normal.as_ref().ok_or_else(|| {
        DataError::new(source, "no label of normal rows").hint("name it with --normal")
    })?;
    let class = rows.classes.iter().position(|name| name == normal);
    let class = class.ok_or_else(|| {
        let known = rows.classes.join(", ");
        DataError::new(source, format!("no row has the label \"{normal}\""))
            .hint(format!("the labels are {known}"))
    })?;
    let is_normal = |row: &usize| usize::from(rows.labels[*row]) == class;
    let (normals, others): (Vec<usize>, Vec<usize>) =
        (0..rows.values.len()).partition(|row| is_normal(row));
    let shuffled = order(normals.len(), "split");
    let (train, kept) = split(shuffled, options.test_percent);
    let train: Vec<usize> = train.into_iter().map(|at| normals[at]).collect();
    let mut stream = Stream::new("anomaly");
    let mut made = Rows {
        names: rows.names.clone(),
        values: Vec::new(),
        labels: Vec::new(),
        classes: vec!["normal".to_owned(), "anomaly".to_owned()],
    };
    for row in &train {
        made.push(rows.values[*row].clone(), 0);
        let drawn = (0..rows.names.len())
            .map(|column| rows.values[train[stream.below(train.len())]][column])
            .collect();
        made.push(drawn, 1);
    }
    let trained = made.values.len();
    for at in kept {
        made.push(rows.values[normals[at]].clone(), 0);
    }
    for row in others {
        made.push(rows.values[row].clone(), 1);
    }
    let (train, test): (Vec<usize>, Vec<usize>) =
        (0..made.values.len()).partition(|row| *row < trained);
    let columns = columns(&made, &train);
    finish(source, made, columns, train, test)
}

impl Rows {
    fn push(&mut self, values: Vec<f64>, label: u8) {
        self.values.push(values);
        self.labels.push(label);
    }
}

fn read(source: &str, options: &LoadOptions) -> Result<Rows, DataError> {
    let path = Path::new(source);
    if path.extension().is_some_and(|ending| ending == "npy") {
        return numpy(path, options);
    }
    let table = read_table(path)?;
    let label = match &options.label {
        None => table.names.len() - 1,
        Some(name) => table.names.iter().position(|n| n == name).ok_or_else(|| {
            let known = table.names.join(", ");
            DataError::of(path, format!("no column \"{name}\"")).hint(format!("columns: {known}"))
        })?,
    };
    if table.names.len() < 2 {
        return Err(DataError::of(
            path,
            "one column only: numbers and a label are needed",
        ));
    }
    rows_of(path, table, label)
}

fn rows_of(path: &Path, table: Table, label: usize) -> Result<Rows, DataError> {
    let mut classes: Vec<String> = table.rows.iter().map(|(_, c)| c[label].clone()).collect();
    classes.sort();
    classes.dedup();
    if let Some((line, _)) = table.rows.iter().find(|(_, cells)| cells[label].is_empty()) {
        return Err(DataError::of(path, "the label is empty").at(*line));
    }
    check_class_count(path, classes.len())?;
    let mut rows = Rows {
        names: table.names.clone(),
        values: Vec::with_capacity(table.rows.len()),
        labels: Vec::with_capacity(table.rows.len()),
        classes,
    };
    rows.names.remove(label);
    for (line, cells) in &table.rows {
        let mut values = Vec::with_capacity(rows.names.len());
        for (at, cell) in cells.iter().enumerate().filter(|(at, _)| *at != label) {
            values.push(number(path, *line, &table.names[at], cell)?);
        }
        let class = rows.classes.iter().position(|name| *name == cells[label]);
        rows.push(values, class.unwrap_or(0) as u8);
    }
    Ok(rows)
}

fn numpy(path: &Path, options: &LoadOptions) -> Result<Rows, DataError> {
    let array = read_npy(path)?;
    let [count, columns] = array.shape[..] else {
        let reason = format!("shape {:?}, a table needs rows × columns", array.shape);
        return Err(DataError::of(path, reason));
    };
    if let Some(at) = array.values.iter().position(|value| !value.is_finite()) {
        let columns = columns.max(1);
        let reason = format!(
            "row {}, column {}: {}",
            at / columns,
            at % columns,
            array.values[at]
        );
        return Err(DataError::of(
            path,
            format!("{reason} is not a finite number"),
        ));
    }
    let labels = options.labels.as_deref().ok_or_else(|| {
        DataError::of(path, "no labels").hint("name an NPY or IDX file with --labels")
    })?;
    let labels = read_labels(labels, count)?;
    let classes = labels.iter().max().map_or(0, |most| usize::from(*most) + 1);
    check_class_count(path, classes)?;
    Ok(Rows {
        names: (0..columns).map(|at| format!("column {at}")).collect(),
        values: array
            .values
            .chunks_exact(columns.max(1))
            .map(<[f64]>::to_vec)
            .collect(),
        labels,
        classes: (0..classes).map(|class| class.to_string()).collect(),
    })
}

fn check_class_count(path: &Path, count: usize) -> Result<(), DataError> {
    if (2..=256).contains(&count) {
        return Ok(());
    }
    let error = DataError::of(path, format!("{count} different labels, must be 2 to 256"));
    Err(error.hint("name the column of the label with --label"))
}

/// Ranges of the training rows.
fn columns(rows: &Rows, train: &[usize]) -> Vec<Column> {
    let range = |at: usize| {
        let values = train.iter().map(|row| rows.values[*row][at]);
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        })
    };
    let column = |(at, name): (usize, &String)| {
        let (low, high) = range(at);
        Column {
            name: name.clone(),
            low,
            high,
        }
    };
    rows.names.iter().enumerate().map(column).collect()
}

fn finish(
    place: &str,
    rows: Rows,
    columns: Vec<Column>,
    train: Vec<usize>,
    test: Vec<usize>,
) -> Result<Loaded, DataError> {
    let codes = rows.values.iter().flat_map(|values| {
        let pairs = columns.iter().zip(values);
        pairs
            .map(|(column, value)| column_code(column, *value))
            .collect::<Vec<_>>()
    });
    let shape = DataShape {
        positions: 1,
        inputs: columns.len(),
        input_fraction: BYTE_FRACTION,
        classes: rows.classes.len(),
    };
    let data = Dataset::new(shape, codes.collect(), rows.labels, train, test);
    let recipe = Recipe::Table {
        columns,
        classes: rows.classes,
    };
    Loaded::new(place, data, recipe)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use hasher_train::data::Part;

    use super::*;

    fn table(text: &str) -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        fs::write(&path, text).unwrap();
        let source = path.to_str().unwrap().to_owned();
        (folder, source)
    }

    #[test]
    fn rows_become_codes_of_the_training_range() {
        let (_folder, source) = table("kind,a,b\nx,0,5\ny,10,5\nx,5,5\ny,10,5\n");
        let options = LoadOptions {
            label: Some("kind".to_owned()),
            test_percent: 0,
            ..LoadOptions::default()
        };
        let loaded = load(&source, &options).unwrap();
        assert_eq!(loaded.recipe.classes(), ["x", "y"]);
        assert_eq!(loaded.data.codes(2), [128, 0], "a constant column is 0");
        assert_eq!(loaded.data.label(3), 1);
    }

    #[test]
    fn bad_rows_labels_and_classes_are_named() {
        let reason = |text: &str, label: Option<&str>| {
            let (_folder, source) = table(text);
            let options = LoadOptions {
                label: label.map(str::to_owned),
                test_percent: 50,
                ..LoadOptions::default()
            };
            load(&source, &options).unwrap_err().to_string()
        };
        assert!(
            reason("a,k\n1,x\nNaN,y\n", None).ends_with("t.csv:3: column \"a\": \"NaN\" is NaN")
        );
        assert!(reason("a,k\n1,x\n2\n", None).contains("t.csv:3: 1 columns"));
        assert!(reason("a,k\n1,x\n2,\n", None).contains("t.csv:3: the label is empty"));
        assert!(reason("a,k\n1,x\n2,x\n", None).contains("1 different labels"));
        assert!(reason("a,k\n1,x\n2,y\n", Some("z")).contains("no column \"z\""));
        assert!(reason("a,k\n1,x\n2,y\n", None).contains("is empty: no training row has it"));
    }

    #[test]
    fn anomalies_are_learned_from_normal_rows_only() {
        let mut text = "a,b,k\n".to_owned();
        for i in 0..20 {
            text.push_str(&format!("{i},{i},good\n"));
        }
        text.push_str("3,17,bad\n");
        let (_folder, source) = table(&text);
        let options = LoadOptions {
            normal: Some("good".to_owned()),
            ..LoadOptions::default()
        };
        let data = load_anomaly(&source, &options).unwrap().data;
        let labels =
            |part| -> Vec<u8> { data.part(part).iter().map(|row| data.label(*row)).collect() };
        assert_eq!(labels(Part::Train), [0, 1].repeat(15));
        assert_eq!(labels(Part::Test), [0, 0, 0, 0, 0, 1]);
        let wrong = LoadOptions {
            normal: Some("fine".to_owned()),
            ..LoadOptions::default()
        };
        let error = load_anomaly(&source, &wrong).unwrap_err();
        assert_eq!(error.hint.as_deref(), Some("the labels are bad, good"));
    }
}
