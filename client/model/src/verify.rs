//! Verification of receipts: identity, every anchor's work, the answer again.
//!
//! It owns what a receipt must fulfil. It believes nothing in it and does no I/O;
//! the model file is the only other thing it needs. What it can not show: that
//! training was honest, that the answer is right, or that the input was true. Nor
//! that the receipt is about the request, the level and the number of passes that
//! somebody asked for: anchors do not commit to the number of passes, so the caller
//! compares these with what was asked.

mod batch;

use hasher_work::Digest;

use crate::outcome::settled_by_last;
use crate::{
    AnchorError, AnchorPoint, AnchorRequest, Inference, InferenceError, Level, Mode, Model,
    ModelId, Options, Outcome, Receipt, RequestError, Solution, ZERO_BITS_MAX, ZERO_BITS_MIN,
};

pub use batch::{BatchReport, verify_batch};

/// Why a receipt was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It is about another model.
    #[error("receipt is for model {receipt}, not for {model}")]
    Model {
        /// The model that the receipt names.
        receipt: ModelId,
        /// The model at hand.
        model: ModelId,
    },
    /// The model could not have taken its input.
    #[error("input does not fit the model")]
    Request(#[from] RequestError),
    /// Another number of anchors than the model and the level ask for.
    #[error("receipt has {got} anchors, model and level ask for {expected}")]
    AnchorCount {
        /// Anchors that there must be.
        expected: usize,
        /// Anchors that there are.
        got: usize,
    },
    /// Another number of classes than the model has.
    #[error("receipt has {got} classes, the model {expected}")]
    Classes {
        /// Classes of the model.
        expected: usize,
        /// Classes of the receipt.
        got: usize,
    },
    /// Work is demanded of a receipt without any.
    #[error("receipt was made without work, {0} zero bits demanded")]
    NoWork(u32),
    /// The receipt asks for an inference that there can not be.
    #[error("the inference can not be made again")]
    Inference(#[source] InferenceError),
    /// An anchor does not count.
    #[error("anchor {index} is refused")]
    Anchor {
        /// Number of the anchor in the receipt.
        index: usize,
        /// Why it does not count.
        source: AnchorError,
    },
    /// The anchors of level 2 depend on the network's values.
    #[error("anchors of level 2 can not be checked without the model")]
    NeedsModel,
    /// A logit is not what the model computes.
    #[error("logit of class {class} in pass {pass} is {stated}, the model gives {computed}")]
    Logit {
        /// The pass.
        pass: usize,
        /// The class.
        class: usize,
        /// What the receipt says, in Q16.
        stated: i32,
        /// What the model gives, in Q16.
        computed: i32,
    },
    /// One of the results is not what the logits make.
    #[error("{field} is {stated}, the passes give {computed}")]
    Result {
        /// Name of the result.
        field: &'static str,
        /// What the receipt says.
        stated: u64,
        /// What the passes give.
        computed: u64,
    },
    /// A mean probability is not what the passes make.
    #[error("mean probability of class {class} is {stated}, the passes give {computed}")]
    MeanProbability {
        /// The class.
        class: usize,
        /// What the receipt says, in Q16.
        stated: u32,
        /// What the passes give, in Q16.
        computed: u32,
    },
}

/// What the anchors of a receipt show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnchorReport {
    /// Whether they were worked for.
    pub worked: bool,
    /// Leading zero bits of each anchor.
    pub zero_bits: Vec<u32>,
}

impl AnchorReport {
    /// Zero bits of the weakest anchor.
    pub fn zero_bits_min(&self) -> u32 {
        self.zero_bits.iter().copied().min().unwrap_or(0)
    }

    /// Double hashes that it takes on average to find so many anchors, each with
    /// at least the zero bits of the weakest; 0 in direct mode.
    pub fn expected_hashes(&self) -> f64 {
        if self.worked {
            self.zero_bits.len() as f64 * 2f64.powi(self.zero_bits_min() as i32)
        } else {
            0.0
        }
    }
}

/// What a verified receipt shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The anchors and their work.
    pub anchors: AnchorReport,
    /// The inference as it was computed again.
    pub outcome: Outcome,
}

/// Checks a receipt against the model: identity, work of every anchor, and the
/// whole answer computed again, bit for bit.
///
/// `min_zero_bits` is what every anchor must show; 0 also accepts direct mode. In
/// work mode at least [`ZERO_BITS_MIN`] are demanded in any case. Request, level and
/// passes are taken from the receipt: whoever asked compares them.
///
/// # Errors
/// [`Refusal`] with the first reason.
pub fn verify(receipt: &Receipt, model: &Model, min_zero_bits: u32) -> Result<Report, Refusal> {
    if receipt.model != model.id() {
        return Err(Refusal::Model {
            receipt: receipt.model,
            model: model.id(),
        });
    }
    let (passes, layers) = (receipt.passes(), model.config().layers as usize);
    let expected = match receipt.level {
        Level::Request => 1,
        Level::Pass => passes,
        Level::Layer => passes * (layers + 1),
    };
    if receipt.anchors.len() != expected {
        return Err(Refusal::AnchorCount {
            expected,
            got: receipt.anchors.len(),
        });
    }
    let classes = model.config().classes as usize;
    if receipt.mean_p_q16.len() != classes {
        return Err(Refusal::Classes {
            expected: classes,
            got: receipt.mean_p_q16.len(),
        });
    }
    let outcome = run_again(receipt, model, mode(receipt.worked, min_zero_bits)?)?;
    check_zero_bits(&outcome.zero_bits, min_zero_bits)?;
    compare(receipt, &outcome, classes)?;
    Ok(Report {
        anchors: AnchorReport {
            worked: receipt.worked,
            zero_bits: outcome.zero_bits.clone(),
        },
        outcome,
    })
}

/// Checks the anchors of a receipt alone: two hashes each, no model needed. It
/// shows that they commit to the model and the request that the receipt names,
/// and their work. It says nothing about the answer.
///
/// # Errors
/// [`Refusal::NeedsModel`] at level 2, [`Refusal::NoWork`] or [`Refusal::Anchor`].
pub fn check_anchors(receipt: &Receipt, min_zero_bits: u32) -> Result<AnchorReport, Refusal> {
    let mode = mode(receipt.worked, min_zero_bits)?;
    if receipt.level == Level::Layer {
        return Err(Refusal::NeedsModel);
    }
    let request = receipt.request.id();
    let mut zero_bits = Vec::with_capacity(receipt.anchors.len());
    for (index, solution) in receipt.anchors.iter().enumerate() {
        let point = AnchorPoint {
            pass: (receipt.level == Level::Pass).then_some(index as u16),
            layer: None,
            state: Digest([0; 32]),
        };
        let anchor = AnchorRequest::new(receipt.model, &request, receipt.level, point, mode)
            .check(*solution)
            .map_err(|source| Refusal::Anchor { index, source })?;
        zero_bits.push(anchor.leading_zero_bits());
    }
    check_zero_bits(&zero_bits, min_zero_bits)?;
    Ok(AnchorReport {
        worked: receipt.worked,
        zero_bits,
    })
}

fn mode(worked: bool, min_zero_bits: u32) -> Result<Mode, Refusal> {
    match worked {
        false if min_zero_bits > 0 => Err(Refusal::NoWork(min_zero_bits)),
        false => Ok(Mode::Direct),
        // More than 32 may be demanded; that is checked on the anchors found.
        true => Ok(Mode::Work {
            zero_bits: min_zero_bits.clamp(ZERO_BITS_MIN, ZERO_BITS_MAX),
        }),
    }
}

fn check_zero_bits(zero_bits: &[u32], wanted: u32) -> Result<(), Refusal> {
    match zero_bits.iter().position(|bits| *bits < wanted) {
        Some(index) => Err(Refusal::Anchor {
            index,
            source: AnchorError::ZeroBits {
                got: zero_bits[index],
                wanted,
            },
        }),
        None => Ok(()),
    }
}

/// The inference again, with the anchors of the receipt.
fn run_again(receipt: &Receipt, model: &Model, mode: Mode) -> Result<Outcome, Refusal> {
    let options = Options {
        passes: receipt.passes() as u16,
        level: receipt.level,
        mode,
        early_stop: false,
    };
    let mut inference =
        Inference::new(model, &receipt.request, options).map_err(|error| match error {
            InferenceError::Request(error) => Refusal::Request(error),
            other => Refusal::Inference(other),
        })?;
    let stages = receipt.anchors.len() / receipt.passes();
    let number = |point: &AnchorPoint| {
        let pass = point.pass.map_or(0, usize::from);
        pass * stages + point.layer.map_or(0, usize::from)
    };
    while !inference.wanted().is_empty() {
        let numbers: Vec<usize> = inference
            .wanted()
            .iter()
            .map(|wanted| number(&wanted.point))
            .collect();
        let solutions: Vec<Solution> = numbers.iter().map(|n| receipt.anchors[*n]).collect();
        inference.supply(&solutions).map_err(|error| match error {
            InferenceError::Anchor { index, source } => Refusal::Anchor {
                index: numbers[index],
                source,
            },
            other => unreachable!("one solution per anchor was given: {other}"),
        })?;
    }
    Ok(inference.finish().expect("no anchor is wanted any more"))
}

fn compare(receipt: &Receipt, outcome: &Outcome, classes: usize) -> Result<(), Refusal> {
    for (pass, (stated, computed)) in receipt.logits.iter().zip(&outcome.passes).enumerate() {
        compare_logits(pass, stated, computed.answer_logits(classes))?;
    }
    let ensemble = &outcome.ensemble;
    let mean = ensemble.mean_p_q16();
    for (class, (stated, computed)) in receipt.mean_p_q16.iter().zip(&mean).enumerate() {
        if stated != computed {
            return Err(Refusal::MeanProbability {
                class,
                stated: *stated,
                computed: *computed,
            });
        }
    }
    for (field, stated, computed) in [
        (
            "prediction",
            u64::from(receipt.prediction),
            ensemble.prediction() as u64,
        ),
        (
            "confidence",
            u64::from(receipt.confidence_q16),
            u64::from(ensemble.confidence_q16()),
        ),
        (
            "number of agreeing passes",
            u64::from(receipt.agreeing),
            u64::from(ensemble.agreeing()),
        ),
        (
            "early-stop flag",
            u64::from(receipt.settled),
            u64::from(settled_by_last(&outcome.passes)),
        ),
    ] {
        if stated != computed {
            return Err(Refusal::Result {
                field,
                stated,
                computed,
            });
        }
    }
    Ok(())
}

fn compare_logits(pass: usize, stated: &[i32], computed: &[i32]) -> Result<(), Refusal> {
    let mut pairs = stated.iter().zip(computed);
    match pairs.position(|(stated, computed)| stated != computed) {
        None => Ok(()),
        Some(class) => Err(Refusal::Logit {
            pass,
            class,
            stated: stated[class],
            computed: computed[class],
        }),
    }
}
