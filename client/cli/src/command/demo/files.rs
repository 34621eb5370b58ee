//! The three files that a demo leaves behind.

use std::fs;
use std::path::{Path, PathBuf};

use hasher_model::{Model, Options, Outcome, Request};
use serde::Serialize;

use crate::error::CliError;
use crate::evaluation::Row;
use crate::files::{Existing, write};
use crate::plot::{Point, accuracy_svg};
use crate::receipt_file;
use crate::table::grouped;

/// Their paths.
pub struct Files {
    model: PathBuf,
    receipt: PathBuf,
    plot: PathBuf,
}

/// Their names as JSON.
#[derive(Debug, Serialize)]
pub struct Names {
    /// Model file.
    pub model: String,
    /// Receipt of the answer.
    pub receipt: String,
    /// Accuracy over passes, SVG.
    pub plot: String,
}

impl Files {
    /// In this folder, which is made if need be.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn in_directory(directory: &Path) -> Result<Self, CliError> {
        fs::create_dir_all(directory).map_err(|error| {
            let doing = format_args!("make the folder {}", directory.display());
            CliError::io(doing, &error).hint("choose another folder with --out")
        })?;
        Ok(Self {
            model: directory.join("digits.hsh"),
            receipt: directory.join("answer.hrc"),
            plot: directory.join("accuracy.svg"),
        })
    }

    /// Writes the model.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_model(&self, model: &Model) -> Result<(), CliError> {
        write(
            &self.model,
            "model file",
            &model.to_bytes(),
            Existing::Replace,
        )
    }

    /// Writes the receipt.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_receipt(
        &self,
        model: &Model,
        request: &Request,
        options: &Options,
        outcome: &Outcome,
    ) -> Result<(), CliError> {
        receipt_file::write(
            &self.receipt,
            model,
            request,
            options,
            outcome,
            Existing::Replace,
        )
    }

    /// Writes the plot; the bars are binomial standard errors.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_plot(
        &self,
        rows: &[Row],
        examples: usize,
        seed_bytes: usize,
    ) -> Result<(), CliError> {
        let count = examples.max(1) as f64;
        let points: Vec<Point> = rows
            .iter()
            .map(|row| Point {
                passes: row.passes,
                accuracy: row.accuracy,
                error: (row.accuracy * (1.0 - row.accuracy) / count).sqrt(),
            })
            .collect();
        let subtitle = format!(
            "{examples} test images, {} bytes of seeds; bars: one standard error",
            grouped(seed_bytes as u64)
        );
        let svg = accuracy_svg(
            "Handwritten digits: accuracy over passes",
            &subtitle,
            &points,
        );
        write(&self.plot, "plot", svg.as_bytes(), Existing::Replace)
    }

    /// The receipt's path.
    pub fn receipt(&self) -> &Path {
        &self.receipt
    }

    /// All names.
    pub fn names(&self) -> Names {
        let name = |path: &Path| path.display().to_string();
        Names {
            model: name(&self.model),
            receipt: name(&self.receipt),
            plot: name(&self.plot),
        }
    }

    /// All names with their meaning.
    pub fn text(&self) -> Vec<String> {
        let names = self.names();
        let rows = [
            (names.model, "the model"),
            (names.receipt, "the receipt of the answer"),
            (names.plot, "accuracy over passes, as a picture"),
        ];
        let width = rows.iter().map(|(name, _)| name.chars().count()).max();
        let width = width.unwrap_or(0);
        rows.iter()
            .map(|(name, meaning)| format!("{name:width$}  {meaning}"))
            .collect()
    }
}
