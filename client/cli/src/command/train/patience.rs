//! Ending a run early: when examples that were kept back are predicted no better for
//! some time, the best model so far counts.

use std::ops::ControlFlow;

use hasher_model::Model;
use hasher_train::data::{Dataset, Part};
use hasher_train::{EvalOptions, Trainer, Weights, simulate};

use crate::error::{CliError, chain};
use crate::training::{Trained, failed};

/// Per cent of the training part that is kept back.
const KEPT_BACK_PERCENT: u8 = 10;
/// Most examples that are measured at a time.
const MEASURED_MAX: usize = 200;
/// Steps between two measurements.
const EVERY: u32 = 50;
/// Bits per label in a nat.
const NATS_PER_BIT: f64 = std::f64::consts::LN_2;

/// What is trained on and kept back, and how long to wait.
#[derive(Debug)]
pub struct Patience {
    data: Dataset,
    measured: Dataset,
    limit: u32,
}

/// The measurements of one run.
#[derive(Debug)]
pub struct Watch<'a> {
    patience: &'a Patience,
    best: Option<(f64, u32, Option<Model>)>,
    losses: Vec<(u32, f64)>,
}

impl Patience {
    /// Keeps a tenth of the training part back.
    pub fn new(limit: u32, data: &Dataset) -> Result<Self, CliError> {
        let wrong = |error: hasher_train::data::DataError| {
            CliError::failed(format!("cannot keep examples back: {}", chain(&error)))
        };
        let data = data.kept_back(KEPT_BACK_PERCENT).map_err(wrong)?;
        let kept = data.part(Part::Test);
        if kept.is_empty() {
            return Err(
                CliError::failed("too few training examples to keep a tenth back")
                    .hint("leave --patience out"),
            );
        }
        let every = kept.len().div_ceil(MEASURED_MAX);
        let measured = data.with_test(kept.iter().copied().step_by(every).collect());
        Ok(Self {
            measured: measured.map_err(wrong)?,
            data,
            limit,
        })
    }

    /// What is trained on.
    pub const fn data(&self) -> &Dataset {
        &self.data
    }

    /// Begins to watch a run.
    pub const fn watch(&self) -> Watch<'_> {
        Watch {
            patience: self,
            best: None,
            losses: Vec::new(),
        }
    }
}

impl Watch<'_> {
    /// Measures now and then; breaks when it has become no better for too long.
    pub fn look(
        &mut self,
        trainer: &Trainer<'_>,
        threads: usize,
    ) -> Result<ControlFlow<()>, CliError> {
        let step = trainer.steps_done();
        if !step.is_multiple_of(EVERY) && !trainer.is_finished() {
            return Ok(ControlFlow::Continue(()));
        }
        let options = EvalOptions {
            passes: &[1],
            skip: 0,
            threads,
        };
        let evaluation = simulate(trainer, &self.patience.measured, Part::Test, options)
            .map_err(|error| failed(&error))?;
        let loss = evaluation.rows[0].label_bits * NATS_PER_BIT;
        self.losses.push((step, loss));
        let best = self.best.as_ref();
        if best.is_none_or(|(least, _, _)| loss < *least) {
            let model = match trainer.config().weights {
                Weights::Seeds => Some(trainer.model().map_err(|error| failed(&error))?),
                Weights::Float => None,
            };
            self.best = Some((loss, step, model));
            return Ok(ControlFlow::Continue(()));
        }
        let waited = best.map_or(0, |(_, at, _)| (step - at) / EVERY);
        Ok(if waited >= self.patience.limit {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        })
    }

    /// Puts the best model in the place of the last.
    pub fn finish(self, trained: &mut Trained) {
        trained.kept_back = self.losses;
        if let Some((_, step, Some(model))) = self.best {
            trained.model = Some(model);
            trained.steps = step;
        }
    }
}
