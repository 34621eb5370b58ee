//! One inference: asks for anchors, runs the passes, yields the outcome.
//!
//! It owns the order in which anchors are needed. It never solves any and never
//! blocks: [`Inference::wanted`] says what is needed next and
//! [`Inference::supply`] goes on, so that a caller may search as it likes.
//! [`predict`] is the loop for those who have an [`AnchorSource`].
//!
//! ```text
//! new ──► wanted: anchors ──► supply(solutions) ──► wanted: … ──► wanted: none ──► finish
//! ```

mod batch;

use hasher_work::Digest;

use crate::network::{Forward, Stage};
use crate::{
    AnchorError, AnchorPoint, AnchorRequest, AnchorSource, Ensemble, Level, Mode, Model, Outcome,
    PassOutput, Request, RequestError, Solution, ZERO_BITS_MAX, ZERO_BITS_MIN,
};

pub use batch::{BATCH_MAX, Batch, predict_batch};

/// Most passes of one inference. Averaging has long converged by then, and a
/// receipt stays small.
pub const PASSES_MAX: u16 = 255;
/// Passes of an inference unless something else is asked for.
pub const PASSES_DEFAULT: u16 = 21;
/// Passes whose residual streams are kept at the same time at level 2, so that
/// their anchors are solved together. Bounds the memory of an inference.
const PASSES_AT_ONCE: usize = 32;
/// Rows (positions of all passes) that go through a layer together, unless a single
/// pass has more: many enough for the CPU's vector lanes, few enough for its cache.
const ROWS_AT_ONCE: usize = 256;

/// How an inference is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Passes, 1 to [`PASSES_MAX`]; the most that are made with an early stop.
    pub passes: u16,
    /// How many anchors there are.
    pub level: Level,
    /// Whether anchors must be worked for.
    pub mode: Mode,
    /// Stop as soon as the leading class is 3 votes ahead.
    pub early_stop: bool,
}

impl Default for Options {
    /// 21 passes in direct mode, one anchor per pass, no early stop.
    fn default() -> Self {
        Self {
            passes: PASSES_DEFAULT,
            level: Level::Pass,
            mode: Mode::Direct,
            early_stop: false,
        }
    }
}

/// Why an inference can not go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InferenceError {
    /// The input does not fit the model.
    #[error("input does not fit the model")]
    Request(#[from] RequestError),
    /// The number of passes is out of bounds.
    #[error("{0} passes asked for, must be 1 to 255")]
    Passes(u16),
    /// The zero bits demanded are out of bounds.
    #[error("{0} zero bits demanded, must be 8 to 32")]
    ZeroBits(u32),
    /// A batch asks for anchors that cannot be shared.
    #[error("a batch takes anchors of level 0 or 1 and no early stop")]
    BatchOptions,
    /// A batch is empty or too large.
    #[error("batch of {got} inputs with {bytes} bytes of results, must be 1 to 4096 and 8 MiB")]
    BatchSize {
        /// Inputs.
        got: usize,
        /// Bytes of inputs and logits.
        bytes: usize,
    },
    /// The source answered with another number of solutions.
    #[error("{got} solutions for {expected} anchors")]
    SolutionCount {
        /// Anchors that were wanted.
        expected: usize,
        /// Solutions that were given.
        got: usize,
    },
    /// A solution does not count.
    #[error("solution of anchor {index} is refused")]
    Anchor {
        /// Its index among the anchors wanted.
        index: usize,
        /// Why it does not count.
        source: AnchorError,
    },
}

/// Why [`predict`] failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PredictError<E> {
    /// The inference was ill-defined or a solution wrong.
    #[error(transparent)]
    Inference(#[from] InferenceError),
    /// The anchor source failed.
    #[error("anchors could not be solved")]
    Source(#[source] E),
}

/// An inference under way.
#[derive(Debug)]
pub struct Inference<'m> {
    forward: Forward<'m>,
    model: &'m Model,
    request: Digest,
    options: Options,
    /// Residual stream that enters layer 0 of every pass.
    embedded: Vec<i32>,
    wanted: Vec<AnchorRequest>,
    /// Passes that stand before the same layer and want their anchors.
    running: Vec<Pass>,
    /// Their residual streams, one after the other.
    residual: Vec<i32>,
    layer: u16,
    passes: Vec<PassOutput>,
    ensemble: Ensemble,
    anchors: Vec<Solution>,
    zero_bits: Vec<u32>,
}

/// One pass under way.
#[derive(Debug)]
struct Pass {
    number: u16,
    solutions: Vec<(Solution, u32)>,
}

impl<'m> Inference<'m> {
    /// Begins an inference.
    ///
    /// # Errors
    /// [`InferenceError::Request`], [`InferenceError::Passes`] or
    /// [`InferenceError::ZeroBits`].
    pub fn new(
        model: &'m Model,
        request: &Request,
        options: Options,
    ) -> Result<Self, InferenceError> {
        Self::anchored(model, request, request.id(), options)
    }

    /// Begins an inference whose anchors commit to `id`.
    pub(crate) fn anchored(
        model: &'m Model,
        request: &Request,
        id: Digest,
        options: Options,
    ) -> Result<Self, InferenceError> {
        request.check(model.config())?;
        if !(1..=PASSES_MAX).contains(&options.passes) {
            return Err(InferenceError::Passes(options.passes));
        }
        if let Mode::Work { zero_bits } = options.mode
            && !(ZERO_BITS_MIN..=ZERO_BITS_MAX).contains(&zero_bits)
        {
            return Err(InferenceError::ZeroBits(zero_bits));
        }
        let mut forward = Forward::new(model);
        let mut inference = Self {
            embedded: forward.embed(request),
            forward,
            model,
            request: id,
            options,
            wanted: Vec::new(),
            running: Vec::new(),
            residual: Vec::new(),
            layer: 0,
            passes: Vec::new(),
            ensemble: Ensemble::new(model.config().classes as usize),
            anchors: Vec::new(),
            zero_bits: Vec::new(),
        };
        if options.level == Level::Request {
            inference.wanted = vec![inference.anchor(None, None, Digest([0; 32]))];
        } else {
            inference.begin_passes();
        }
        Ok(inference)
    }

    /// Anchors that must be solved before the inference goes on; none when it is
    /// finished.
    pub fn wanted(&self) -> &[AnchorRequest] {
        &self.wanted
    }

    /// Goes on with one solution for each anchor that is wanted.
    ///
    /// # Errors
    /// [`InferenceError::SolutionCount`] or [`InferenceError::Anchor`]; the
    /// inference stands as before.
    pub fn supply(&mut self, solutions: &[Solution]) -> Result<(), InferenceError> {
        if solutions.len() != self.wanted.len() {
            return Err(InferenceError::SolutionCount {
                expected: self.wanted.len(),
                got: solutions.len(),
            });
        }
        let mut digests = Vec::with_capacity(solutions.len());
        for (index, (wanted, solution)) in self.wanted.iter().zip(solutions).enumerate() {
            let anchor = wanted
                .check(*solution)
                .map_err(|source| InferenceError::Anchor { index, source })?;
            digests.push((*solution, anchor));
        }
        if digests.is_empty() {
            return Ok(());
        }
        self.wanted.clear();
        match self.options.level {
            Level::Request => self.run_from_one_anchor(digests[0]),
            Level::Pass => self.run_passes(&digests),
            Level::Layer => self.run_one_layer(&digests),
        }
        Ok(())
    }

    /// The outcome; nothing while anchors are wanted.
    pub fn finish(self) -> Option<Outcome> {
        self.wanted.is_empty().then(|| Outcome {
            passes: self.passes,
            ensemble: self.ensemble,
            anchors: self.anchors,
            zero_bits: self.zero_bits,
            oracle: self.forward.count(),
        })
    }

    fn run_from_one_anchor(&mut self, (solution, anchor): (Solution, Digest)) {
        self.anchors.push(solution);
        self.zero_bits.push(anchor.leading_zero_bits());
        while !self.is_done() {
            let passes: Vec<_> = self.next_passes().map(|pass| (pass, anchor)).collect();
            self.run_whole_passes(&passes);
        }
    }

    fn run_passes(&mut self, solved: &[(Solution, Digest)]) {
        let mut passes = Vec::with_capacity(solved.len());
        for (number, (solution, anchor)) in (self.passes.len()..).zip(solved) {
            self.anchors.push(*solution);
            self.zero_bits.push(anchor.leading_zero_bits());
            passes.push((number as u16, *anchor));
        }
        self.run_whole_passes(&passes);
        self.begin_passes();
    }

    fn run_whole_passes(&mut self, passes: &[(u16, Digest)]) {
        for passes in passes.chunks(self.passes_at_once()) {
            let mut residual = self.embedded.repeat(passes.len());
            let mut stage = Stage { layer: 0, passes };
            while stage.layer < self.layers() {
                self.forward.layer(stage, &mut residual);
                stage.layer += 1;
            }
            let pooled = self.forward.pool(residual);
            let logits = self.forward.head(stage, &pooled);
            self.record(&logits, passes.len());
        }
    }

    /// Takes all running passes through the layer before which they stand.
    fn run_one_layer(&mut self, solved: &[(Solution, Digest)]) {
        let mut passes = Vec::with_capacity(solved.len());
        for (pass, (solution, anchor)) in self.running.iter_mut().zip(solved) {
            pass.solutions.push((*solution, anchor.leading_zero_bits()));
            passes.push((pass.number, *anchor));
        }
        let mut residual = std::mem::take(&mut self.residual);
        let at_once = self.passes_at_once();
        let chunk = residual.len() / passes.len() * at_once;
        let (layer, layers) = (self.layer, self.layers());
        for (passes, residual) in passes.chunks(at_once).zip(residual.chunks_mut(chunk)) {
            let stage = Stage { layer, passes };
            if layer == layers {
                let logits = self.forward.head(stage, residual);
                self.record(&logits, passes.len());
            } else {
                self.forward.layer(stage, residual);
            }
        }
        if layer == layers {
            for (solution, zero_bits) in self.running.drain(..).flat_map(|pass| pass.solutions) {
                self.anchors.push(solution);
                self.zero_bits.push(zero_bits);
            }
            self.begin_passes();
            return;
        }
        if layer + 1 == layers {
            residual = self.forward.pool(residual);
        }
        self.residual = residual;
        self.layer += 1;
        self.want_layer_anchors();
    }

    /// Passes that go through a layer together.
    fn passes_at_once(&self) -> usize {
        let positions = self.embedded.len() / self.model.config().width as usize;
        (ROWS_AT_ONCE / positions).max(1)
    }

    /// Numbers of the passes that are certain to be wanted next.
    fn next_passes(&self) -> impl Iterator<Item = u16> + use<> {
        let first = self.passes.len();
        let mut count = usize::from(self.options.passes) - first;
        if self.options.early_stop {
            // Never ask for work that an early stop could make useless.
            count = count.min(self.ensemble.passes_to_settle() as usize);
        }
        if self.options.level == Level::Layer {
            count = count.min(PASSES_AT_ONCE);
        }
        (first..first + count).map(|number| number as u16)
    }

    /// Asks for the anchors of the next passes, if there are to be any.
    fn begin_passes(&mut self) {
        if self.is_done() {
            return;
        }
        let numbers = self.next_passes();
        if self.options.level == Level::Pass {
            self.wanted = numbers
                .map(|number| self.anchor(Some(number), None, Digest([0; 32])))
                .collect();
            return;
        }
        self.running = numbers
            .map(|number| Pass {
                number,
                solutions: Vec::new(),
            })
            .collect();
        self.residual = self.embedded.repeat(self.running.len());
        self.layer = 0;
        self.want_layer_anchors();
    }

    fn want_layer_anchors(&mut self) {
        let length = self.residual.len() / self.running.len();
        self.wanted = self
            .running
            .iter()
            .zip(self.residual.chunks_exact(length))
            .map(|(pass, residual)| {
                let state = Forward::state(residual);
                self.anchor(Some(pass.number), Some(self.layer), state)
            })
            .collect();
    }

    fn anchor(&self, pass: Option<u16>, layer: Option<u16>, state: Digest) -> AnchorRequest {
        AnchorRequest::new(
            self.model.id(),
            &self.request,
            self.options.level,
            AnchorPoint { pass, layer, state },
            self.options.mode,
        )
    }

    /// Takes the logits of some passes in, one after the other.
    fn record(&mut self, logits: &[i32], passes: usize) {
        let classes = self.model.config().classes as usize;
        for logits in logits.chunks_exact(logits.len() / passes) {
            let output = PassOutput::new(logits.to_vec(), classes);
            self.ensemble.add(&output.probabilities);
            self.passes.push(output);
        }
    }

    fn is_done(&self) -> bool {
        self.passes.len() >= usize::from(self.options.passes)
            || self.options.early_stop && self.ensemble.is_settled()
    }

    fn layers(&self) -> u16 {
        self.model.config().layers as u16
    }
}

/// Runs a whole inference with the anchors of `source`.
///
/// # Errors
/// [`PredictError::Source`] when the source fails, otherwise
/// [`PredictError::Inference`].
pub fn predict<S: AnchorSource>(
    model: &Model,
    request: &Request,
    options: Options,
    source: &mut S,
) -> Result<Outcome, PredictError<S::Error>> {
    let mut inference = Inference::new(model, request, options)?;
    while !inference.wanted().is_empty() {
        let solutions = source
            .solve(inference.wanted())
            .map_err(PredictError::Source)?;
        inference.supply(&solutions)?;
    }
    Ok(inference.finish().expect("no anchor is wanted any more"))
}

#[cfg(test)]
mod tests;
