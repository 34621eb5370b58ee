//! The table, and which of its rows miss their floor.

use std::fmt;

use crate::race::{Lane, Spread};

/// Rows of a comparison, each against one base.
pub struct Report {
    columns: &'static [&'static str],
    rows: Vec<Row>,
}

struct Row {
    task: String,
    candidate: String,
    figures: Vec<String>,
    ratio: Spread,
    bound: Option<Bound>,
    /// What the bound is about.
    bounded: f64,
}

/// What a row must reach.
#[derive(Debug, Clone, Copy)]
pub enum Bound {
    /// At least this ratio to the base.
    Ratio(f64),
    /// At most this ratio to the base.
    #[cfg(feature = "daemon")]
    RatioMost(f64),
    /// At most this many cycles for one unit.
    Cycles(f64),
}

impl Report {
    /// An empty table of candidates' speed and cycles.
    pub fn new() -> Self {
        Self::with_columns(&["M/s", "cycles"])
    }

    /// An empty table with these figures of a candidate.
    pub fn with_columns(columns: &'static [&'static str]) -> Self {
        Self {
            columns,
            rows: Vec::new(),
        }
    }

    /// Adds what a race showed. Ratios are to `base`, a lane's name; `bounds` says what
    /// must hold of a lane.
    pub fn add(
        &mut self,
        task: &str,
        lanes: &[Lane],
        base: &str,
        bounds: &dyn Fn(&str) -> Vec<Bound>,
    ) {
        let Some(base) = lanes.iter().find(|lane| lane.name == base) else {
            return;
        };
        for lane in lanes {
            let millions_a_second = 1e3 / Spread::of(lane.nanoseconds.iter().copied()).median;
            let cycles = Spread::of(lane.cycles.iter().copied()).median;
            let ratio = Spread::of_speed(base, lane);
            let bounds = bounds(&lane.name).into_iter().map(Some);
            let bounds: Vec<_> = match bounds.len() {
                0 => vec![None],
                _ => bounds.collect(),
            };
            for bound in bounds {
                self.rows.push(Row {
                    task: task.to_owned(),
                    candidate: lane.name.clone(),
                    figures: vec![format!("{millions_a_second:.2}"), format!("{cycles:.1}")],
                    ratio,
                    bound,
                    bounded: match bound {
                        Some(Bound::Cycles(_)) => cycles,
                        _ => ratio.median,
                    },
                });
            }
        }
    }

    /// Adds one row; `figures` has a text for each column.
    pub fn add_row(
        &mut self,
        task: &str,
        candidate: &str,
        figures: Vec<String>,
        ratio: Spread,
        bound: Option<Bound>,
    ) {
        self.rows.push(Row {
            task: task.to_owned(),
            candidate: candidate.to_owned(),
            figures,
            ratio,
            bound,
            bounded: ratio.median,
        });
    }

    /// The rows that miss their bound by more than their noise, by task, candidate and
    /// bound.
    pub fn missed(&self) -> Vec<String> {
        let missed = self.rows.iter().filter(|row| !row.passed());
        missed
            .map(|row| format!("{} {} {}", row.task, row.candidate, row.bound_text()))
            .collect()
    }
}

impl Row {
    /// The relative noise of this row: the spread of the middle half of its ratios.
    fn noise(&self) -> f64 {
        (self.ratio.high - self.ratio.low) / self.ratio.median
    }

    fn bound_text(&self) -> String {
        match self.bound {
            None => String::new(),
            Some(Bound::Ratio(least)) => format!("≥ {least:.2}×"),
            #[cfg(feature = "daemon")]
            Some(Bound::RatioMost(most)) => format!("≤ {most:.2}×"),
            Some(Bound::Cycles(most)) => format!("≤ {most:.0} cycles"),
        }
    }

    fn passed(&self) -> bool {
        match self.bound {
            None => true,
            Some(Bound::Ratio(least)) => self.bounded * (1.0 + self.noise()) >= least,
            #[cfg(feature = "daemon")]
            Some(Bound::RatioMost(most)) => self.bounded <= most * (1.0 + self.noise()),
            Some(Bound::Cycles(most)) => self.bounded <= most * (1.0 + self.noise()),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.columns.join(" | ");
        writeln!(
            f,
            "| task | candidate | {columns} | ratio (middle half) | floor |"
        )?;
        let rules = "---: | ".repeat(self.columns.len());
        writeln!(f, "| --- | --- | {rules}---: | --- |")?;
        for row in &self.rows {
            let Spread { low, median, high } = row.ratio;
            let bound = row.bound_text();
            let missed = if row.passed() { "" } else { " **missed**" };
            let figures = row.figures.join(" | ");
            writeln!(
                f,
                "| {} | {} | {figures} | {median:.2} ({low:.2}–{high:.2}) | {bound}{missed} |",
                row.task, row.candidate
            )?;
        }
        Ok(())
    }
}
