//! The table, and which of its rows miss their floor.

use std::fmt;

use crate::race::{Lane, Spread};

/// Rows of a comparison, each against one base.
pub struct Report {
    rows: Vec<Row>,
}

struct Row {
    task: String,
    candidate: String,
    millions_a_second: f64,
    cycles: f64,
    ratio: Spread,
    bound: Option<Bound>,
}

/// What a row must reach.
#[derive(Debug, Clone, Copy)]
pub enum Bound {
    /// At least this many times the base's speed.
    Ratio(f64),
    /// At most this many cycles for one unit.
    Cycles(f64),
}

impl Report {
    /// An empty table.
    pub fn new() -> Self {
        Self { rows: Vec::new() }
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
            let row = |bound| Row {
                task: task.to_owned(),
                candidate: lane.name.clone(),
                millions_a_second: 1e3 / Spread::of(lane.nanoseconds.iter().copied()).median,
                cycles: Spread::of(lane.cycles.iter().copied()).median,
                ratio: Spread::of_speed(base, lane),
                bound,
            };
            let bounds = bounds(&lane.name);
            match bounds.is_empty() {
                true => self.rows.push(row(None)),
                false => self
                    .rows
                    .extend(bounds.into_iter().map(|bound| row(Some(bound)))),
            }
        }
    }

    /// Whether no row misses its bound by more than its noise.
    pub fn passed(&self) -> bool {
        self.rows.iter().all(Row::passed)
    }
}

impl Row {
    /// The relative noise of this row: the spread of the middle half of its ratios.
    fn noise(&self) -> f64 {
        (self.ratio.high - self.ratio.low) / self.ratio.median
    }

    fn passed(&self) -> bool {
        match self.bound {
            None => true,
            Some(Bound::Ratio(least)) => self.ratio.median * (1.0 + self.noise()) >= least,
            Some(Bound::Cycles(most)) => self.cycles <= most * (1.0 + self.noise()),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| task | candidate | M/s | cycles | ratio (middle half) | floor |"
        )?;
        writeln!(f, "| --- | --- | ---: | ---: | ---: | --- |")?;
        for row in &self.rows {
            let Spread { low, median, high } = row.ratio;
            let bound = match row.bound {
                None => String::new(),
                Some(Bound::Ratio(least)) => format!("≥ {least:.2}×"),
                Some(Bound::Cycles(most)) => format!("≤ {most:.0} cycles"),
            };
            let missed = if row.passed() { "" } else { " **missed**" };
            writeln!(
                f,
                "| {} | {} | {:.2} | {:.1} | {median:.2} ({low:.2}–{high:.2}) | {bound}{missed} |",
                row.task, row.candidate, row.millions_a_second, row.cycles
            )?;
        }
        Ok(())
    }
}
