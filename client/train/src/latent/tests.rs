use super::*;
use crate::gradient_check::values;

const SHAPE: Shape = Shape {
    task: hasher_model::Task::Classifier,
    form: crate::layer::activation::Form {
        activation: crate::Activation::Hash,
        surrogate: crate::Surrogate::Clipped,
    },
    width: 24,
    hidden: 40,
    layers: 1,
    heads: 2,
    positions: 3,
    inputs: 16,
    classes: 5,
    code_bits: 4,
};

fn latents(kind: Kind, rng_seed: u64) -> Latents {
    let config = hasher_model::Config {
        task: hasher_model::Task::Classifier,
        width: SHAPE.width as u32,
        hidden: SHAPE.hidden as u32,
        layers: SHAPE.layers as u32,
        heads: SHAPE.heads as u32,
        positions: SHAPE.positions as u32,
        inputs: SHAPE.inputs as u32,
        classes: SHAPE.classes as u32,
        code_bits: SHAPE.code_bits,
        dither_bits: 4,
        input_fraction: 4,
        vocabulary: 0,
    };
    let train = TrainConfig {
        rng_seed,
        ..TrainConfig::default()
    };
    Latents::new(&Manifest::new(config, |_| kind).unwrap(), &train)
}

const KINDS: [Kind; 4] = [Kind::Hb32, Kind::Hb16, Kind::Hb8, Kind::Kron];
const FLAT_KINDS: [Kind; 4] = [Kind::Bin, Kind::Tern, Kind::Nib, Kind::Vec8];

/// Every weight, bias and gain of the network, in model order.
fn decoded(latents: &mut Latents, seeds: &mut Vec<Seed>) -> Vec<f32> {
    let mut dense = Dense::new(&SHAPE);
    latents.update(seeds, &mut dense).unwrap();
    let mut all: Vec<f32> = (0..SHAPE.gains())
        .flat_map(|at| dense.gain(at).to_vec())
        .collect();
    for index in EMBEDDING..=SHAPE.head() {
        all.extend(dense.weight(index));
        all.extend(dense.linear(index).bias);
    }
    all
}

/// Latents that lie exactly on representable values, where rounding is the
/// identity and decoding is linear (bilinear for `kron`).
fn on_the_grid(kind: Kind) -> Latents {
    let mut latents = latents(kind, 7);
    let gains = latents.parts[GAINS].shape.outputs;
    let mut rng = Rng::new(9, Purpose::Initialisation, 0);
    for (at, value) in latents.values.iter_mut().enumerate() {
        *value = if at < gains {
            (rng.below(50) as f32 + 10.0) / 64.0
        } else if (at - gains) % PER_TILE < TILE_COEFFICIENTS {
            // Tiles span the whole range, so that the scale is 2⁻³ or 2⁻⁶.
            let first = ((at - gains) % PER_TILE).is_multiple_of(TILE_COEFFICIENTS / 2);
            let odd = if first {
                15.0
            } else {
                2.0 * rng.below(16) as f32 - 15.0
            };
            odd / 8.0
        } else {
            (rng.below(61) as f32 - 30.0) / 64.0
        };
    }
    latents
}

#[test]
fn latents_on_the_grid_decode_to_themselves_and_the_pulled_back_gradient_is_exact() {
    for kind in KINDS {
        let mut latents = on_the_grid(kind);
        let mut seeds = Vec::new();
        let base = decoded(&mut latents, &mut seeds);
        // L = Σ dW·W is linear in W; its gradient by dense values is `direction`.
        let direction = values(base.len(), 71);
        let mut dense = DenseGradient::new(&SHAPE);
        for at in 0..SHAPE.gains() {
            let start = at * SHAPE.width;
            dense
                .gain(at)
                .copy_from_slice(&direction[start..start + SHAPE.width]);
        }
        let mut start = SHAPE.gains() * SHAPE.width;
        for index in EMBEDDING..=SHAPE.head() {
            let linear = dense.linear(index);
            for part in [linear.weight, linear.bias] {
                part.copy_from_slice(&direction[start..start + part.len()]);
                start += part.len();
            }
        }
        let mut gradient = vec![0.0; latents.values.len()];
        latents.pull_back(&dense, &seeds, &mut gradient);
        // One grid step of one latent changes L by step · gradient, since all
        // other latents stay where they are.
        let gains = latents.parts[GAINS].shape.outputs;
        let mut rng = Rng::new(13, Purpose::Order, 0);
        for _ in 0..60 {
            let at = rng.below(latents.values.len());
            let offset = (at.max(gains) - gains) % PER_TILE;
            let is_coefficient = at >= gains && offset < TILE_COEFFICIENTS;
            if is_coefficient && offset.is_multiple_of(TILE_COEFFICIENTS / 2) {
                continue; // would move the scale
            }
            let before = latents.values[at];
            let step = match (is_coefficient, before > 0.0) {
                (false, _) => 1.0 / 64.0,
                (true, true) => -0.25,
                (true, false) => 0.25,
            };
            latents.values[at] += step;
            let moved = decoded(&mut latents, &mut seeds);
            latents.values[at] = before;
            let change: f64 = moved
                .iter()
                .zip(&base)
                .zip(&direction)
                .map(|((a, b), d)| f64::from(a - b) * f64::from(*d))
                .sum();
            let expected = f64::from(step) * f64::from(gradient[at]);
            let error = (change - expected).abs();
            assert!(
                error < 1e-3 + 1e-4 * expected.abs(),
                "{kind} latent {at}: {change} {expected}"
            );
        }
    }
}

#[test]
fn first_weights_have_the_variance_of_one_over_inputs() {
    for kind in KINDS.into_iter().chain(FLAT_KINDS) {
        let mut latents = latents(kind, 3);
        let all = decoded(&mut latents, &mut Vec::new());
        assert!((all[0] - 0.5).abs() < 1e-6, "position gain");
        assert!((all[SHAPE.width] - 51.0 / 64.0).abs() < 1e-6, "norm gain");
        let q = SHAPE.layer_matrices(0).q;
        let mut dense = Dense::new(&SHAPE);
        latents.update(&mut Vec::new(), &mut dense).unwrap();
        let weights = dense.weight(q);
        let variance = weights.iter().map(|w| w * w).sum::<f32>() / weights.len() as f32;
        let expected = 1.0 / SHAPE.width as f32;
        // `tern` rounds a third of the weights to zero and the others down.
        assert!(
            (0.35..2.0).contains(&(variance / expected)),
            "{kind}: {variance} {expected}"
        );
    }
}

#[test]
fn weight_decay_leaves_gains_and_biases_alone() {
    let latents = latents(Kind::Hb32, 1);
    let is_weight = latents.is_weight();
    let tiles: usize = latents.parts[EMBEDDING..]
        .iter()
        .map(|part| part.shape.seed_count())
        .sum();
    assert_eq!(
        is_weight.iter().filter(|d| **d).count(),
        tiles * TILE_COEFFICIENTS
    );
    assert!(!is_weight[0] && !is_weight[latents.parts[GAINS].shape.outputs + TILE_COEFFICIENTS]);
}

#[test]
fn a_latent_that_is_not_a_number_is_refused() {
    let mut latents = latents(Kind::Hb32, 1);
    *latents.values.last_mut().unwrap() = f32::NAN;
    assert!(latents.encode(latents.values(), &mut Vec::new()).is_err());
}

#[test]
fn flat_kinds_hold_the_weights_themselves_and_their_gradient_is_the_weights() {
    for kind in FLAT_KINDS {
        let mut latents = latents(kind, 5);
        let weights: usize = latents.parts[EMBEDDING..]
            .iter()
            .map(|part| part.shape.weights())
            .sum();
        let is_weight = latents.is_weight();
        assert_eq!(is_weight.iter().filter(|d| **d).count(), weights, "{kind}");

        // A bias is stored exactly on its grid, whatever the kind of the weights.
        let q = latents.parts[SHAPE.layer_matrices(0).q].clone();
        let bias = q.latents.start + q.shape.weights() + 3;
        latents.values[bias] = -5.0 / 64.0;
        let (mut seeds, mut dense) = (Vec::new(), Dense::new(&SHAPE));
        latents.update(&mut seeds, &mut dense).unwrap();
        let q_index = SHAPE.layer_matrices(0).q;
        assert_eq!(dense.linear(q_index).bias[3], -5.0 / 64.0);
        // Weights keep their sign or become zero.
        let real = &latents.values[q.latents.start..][..q.shape.weights()];
        let weight = dense.weight(q_index);
        let pairs = || weight.iter().zip(real);
        assert!(
            pairs().all(|(w, l)| w * l >= 0.0 || l.abs() < 0.05),
            "{kind}"
        );

        let mut gradient = DenseGradient::new(&SHAPE);
        let index = SHAPE.layer_matrices(0).q;
        gradient
            .linear(index)
            .weight
            .copy_from_slice(&values(q.shape.weights(), 3));
        let mut out = vec![0.0; latents.values.len()];
        latents.pull_back(&gradient, &seeds, &mut out);
        assert_eq!(out[q.latents][..q.shape.weights()], *gradient.weight(index));
    }
}

#[test]
fn float_weights_are_the_latents() {
    let config = TrainConfig {
        weights: Weights::Float,
        width: 16,
        hidden: 16,
        heads: 2,
        ..TrainConfig::default()
    };
    let model = config.model_config(&crate::data::digits()).unwrap();
    let manifest = Manifest::new(model, |_| Kind::Nib).unwrap();
    let mut latents = Latents::new(&manifest, &config);
    let shape = Shape::new(&model, config.form());
    let (mut seeds, mut dense) = (Vec::new(), Dense::new(&shape));
    latents.values[16] = 0.123;
    latents.update(&mut seeds, &mut dense).unwrap();
    assert!(seeds.is_empty());
    assert_eq!(dense.gain(1)[0], 0.123);
    let first = latents.parts[EMBEDDING].latents.start;
    assert_eq!(dense.weight(EMBEDDING)[5], latents.values[first + 5]);
    latents.values[first] = f32::NAN;
    assert!(latents.update(&mut seeds, &mut dense).is_err());
}
