//! Dither from the real oracle: the forward pass of training rounds exactly as
//! inference would with the seeds of this step.
//!
//! Hashing and rounding are `hasher-model`'s; this module gives every example of
//! a step its own request and anchor. The trainer calls it when
//! [`DitherSource::Oracle`](crate::DitherSource::Oracle) is chosen.

use hasher_model::{
    AnchorPoint, AnchorRequest, Config, HashActivation, LaneKey, Level, Manifest, Mode, ModelId,
    Request, Seed, Solution, Task, merkle_root,
};
use hasher_work::{Digest, digest};

use crate::data::Dataset;
use crate::layer::activation::{Activate, Lane, Quantiser};

/// Every example of training sees one pass.
const PASS: u16 = 0;
/// Inputs beyond this are far outside every clip range (±2); the bound keeps
/// their Q16 form within 32 bits.
const INPUT_MAX: f32 = 1024.0;

/// The oracle of the model of one step.
#[derive(Debug)]
pub(crate) struct StepOracle {
    config: Config,
    model: ModelId,
    step: u32,
}

impl StepOracle {
    /// The oracle of the model with these seeds, before step `step`.
    pub(crate) fn new(manifest: &Manifest, seeds: &[Seed], step: u32) -> Self {
        let root = merkle_root(seeds).expect("a model has seeds");
        let model = ModelId::of(&digest(&manifest.to_bytes()), &root);
        Self {
            config: *manifest.config(),
            model,
            step,
        }
    }

    /// Dither for some examples of the batch, the first at position `begin`.
    pub(crate) fn dither(&self, data: &Dataset, examples: &[usize], begin: usize) -> OracleDither {
        let anchor = |(at, example): (usize, &usize)| {
            // Step and position make the request unique: no dither is seen twice.
            let mut nonce = [0; 16];
            nonce[..4].copy_from_slice(&self.step.to_le_bytes());
            nonce[4..8].copy_from_slice(&((begin + at) as u32).to_le_bytes());
            let codes = data.codes(*example);
            let request = match self.config.task {
                Task::Classifier => Request::new(nonce, codes.to_vec()),
                Task::LanguageModel => {
                    let tokens: Vec<u32> = codes.iter().map(|token| u32::from(*token)).collect();
                    Request::of_tokens(nonce, &tokens)
                }
            };
            let request = request.id();
            let point = AnchorPoint {
                pass: Some(PASS),
                layer: None,
                state: Digest([0; 32]),
            };
            AnchorRequest::new(self.model, &request, Level::Pass, point, Mode::Direct)
                .solved(Solution::DIRECT)
                .double_digest()
        };
        OracleDither {
            activation: HashActivation::new(&self.config),
            unit: 1.0 / (1u32 << (self.config.code_bits - 1)) as f32,
            anchors: examples.iter().enumerate().map(anchor).collect(),
            input: Vec::new(),
            codes: Vec::new(),
        }
    }
}

/// Rounds with the oracle of one chunk's anchors.
#[derive(Debug)]
pub(crate) struct OracleDither {
    activation: HashActivation,
    /// Real value of one code step.
    unit: f32,
    /// One anchor per example of the chunk.
    anchors: Vec<Digest>,
    input: Vec<i32>,
    codes: Vec<i16>,
}

impl Activate for OracleDither {
    fn activate(&mut self, lane: Lane, quantiser: &Quantiser, z: &[f32], y: &mut [f32]) {
        let q16 = |z: &f32| (z.clamp(-INPUT_MAX, INPUT_MAX) * 65_536.0) as i32;
        self.input.clear();
        self.input.extend(z.iter().map(q16));
        self.codes.resize(z.len(), 0);
        let key = LaneKey {
            layer: lane.layer as u16,
            site: lane.site as u8,
            pass: PASS,
            position: lane.position as u32,
        };
        let lanes = [(self.anchors[lane.example], key)];
        let width = self.input.len();
        self.activation
            .apply(&self.input, width, quantiser.range, &lanes, &mut self.codes);
        for (y, code) in y.iter_mut().zip(&self.codes) {
            *y = f32::from(*code) * self.unit;
        }
    }
}

#[cfg(test)]
mod tests {
    use hasher_model::{CodeRange, Kind};

    use super::*;
    use crate::TrainConfig;
    use crate::data::digits;
    use crate::gradient_check::values;
    use crate::layer::activation::tests::Expected;

    #[test]
    fn the_float_quantiser_and_the_models_activation_have_one_expectation() {
        let data = digits();
        for code_bits in [1, 2, 4, 8] {
            let config = TrainConfig {
                code_bits,
                dither_bits: 8,
                ..TrainConfig::default()
            };
            let config_form = config.form();
            let config = config.model_config(&data).unwrap();
            let manifest = Manifest::new(config, |_| Kind::Hb32).unwrap();
            let oracle = StepOracle::new(&manifest, &[Seed([0; 32])], 3);
            let examples: Vec<usize> = (0..1000).collect();
            let mut dither = oracle.dither(&data, &examples, 0);
            for range in [CodeRange::Signed, CodeRange::Unsigned] {
                let quantiser = Quantiser::new(code_bits, range, config_form);
                let z = values(32, 81);
                let (mut y, mut mean) = (vec![0.0; 32], vec![0.0f32; 32]);
                let mut lane = Lane {
                    example: 0,
                    layer: 0,
                    site: 0,
                    position: 0,
                };
                for example in examples.clone() {
                    lane.example = example;
                    dither.activate(lane, &quantiser, &z, &mut y);
                    mean.iter_mut()
                        .zip(&y)
                        .for_each(|(mean, y)| *mean += y / 1000.0);
                }
                Expected.activate(lane, &quantiser, &z, &mut y);
                // Five standard errors of a mean of 1000 draws of half a step.
                let allowed = 4.0 / (1u32 << code_bits) as f32 * 0.08;
                for (mean, y) in mean.iter().zip(&y) {
                    assert!(
                        (mean - y).abs() < allowed,
                        "{code_bits} {range:?}: {mean} {y}"
                    );
                }
            }
        }
    }
}
