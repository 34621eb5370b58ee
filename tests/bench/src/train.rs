//! Steps of training, and the products that they are made of, on one thread.

use std::hint::black_box;

use hasher_kernel::{Gemm, Operand};
use hasher_model::Kind;
use hasher_train::data::{Dataset, digits};
use hasher_train::{Activation, Kinds, STEPS_MAX, TrainConfig, Trainer, Weights};

use crate::race::{Candidate, Spread, race};
use crate::report::{Bound, Report};

/// Rows, length of the sums and columns of products of the text model: forward of a
/// quarter of a chunk's feed-forward part, and its gradient.
const PRODUCTS: [[usize; 3]; 3] = [[128, 128, 256], [128, 256, 128], [36, 64, 64]];
/// Characters of the text model's vocabulary, and of its text.
const CHARACTERS: usize = 38;
const TEXT: usize = 100_000;
const CONTEXT: usize = 32;

/// One step with seeds and with float32 weights. The data do not matter for the time.
pub fn steps(turns: usize) -> Report {
    let mut report = Report::with_columns(&["ms a step"]);
    let base = TrainConfig {
        steps: STEPS_MAX,
        ..TrainConfig::default()
    };
    let text = TrainConfig {
        width: 128,
        hidden: 256,
        kinds: Kinds::all(Kind::Hb16),
        ..base.clone()
    };
    let tokens = text_tokens();
    for (task, data, seeds, config) in [
        ("digits, d 64, batch 32", &digits(), "hb32", base),
        ("text, d 128, batch 32", &tokens, "hb16", text),
    ] {
        let float = TrainConfig {
            weights: Weights::Float,
            activation: Activation::Gelu,
            ..config.clone()
        };
        let candidates = [("float32", float), (seeds, config)].map(|(name, config)| {
            let mut trainer = Trainer::new(config, data).expect("the configuration fits");
            trainer.set_threads(1);
            Candidate::new(name, move || {
                black_box(trainer.step().expect("it does not diverge so soon"));
                1
            })
        });
        let lanes = race(candidates.into(), turns);
        for lane in &lanes {
            let milliseconds = Spread::of(lane.nanoseconds.iter().map(|ns| ns / 1e6)).median;
            let figures = vec![format!("{milliseconds:.2}")];
            let ratio = Spread::of_speed(&lanes[0], lane);
            report.add_row(task, &lane.name, figures, ratio, None);
        }
    }
    report
}

/// Random characters.
fn text_tokens() -> Dataset {
    let mut state = 1u64;
    let mut token = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        ((state >> 33) % CHARACTERS as u64) as u8
    };
    let tokens = (0..TEXT).map(|_| token()).collect();
    let starts = (0..TEXT - CONTEXT).collect();
    let data = Dataset::sequence(CONTEXT, CHARACTERS, tokens, &[], starts, vec![]);
    data.expect("the windows lie within the text")
}

/// Products of small matrices against the crate `matrixmultiply`.
pub fn products(turns: usize, report: &mut Report) {
    for [m, k, n] in PRODUCTS {
        let numbers = |len: usize| -> Vec<f32> { (0..len).map(|i| (i % 7) as f32 - 3.0).collect() };
        let (a, b) = (numbers(m * k), numbers(k * n));
        let (mut ours, mut theirs) = (vec![0.0; m * n], vec![0.0; m * n]);
        let mut gemm = Gemm::default();
        let operations = (m * k * n) as u64;
        let candidates = vec![
            Candidate::new("matrixmultiply", || {
                multiply([m, k, n], &a, &b, black_box(&mut theirs));
                operations
            }),
            Candidate::new("hasher", || {
                gemm.multiply_add([m, k, n], Operand::Rows(&a), &b, black_box(&mut ours));
                operations
            }),
        ];
        let lanes = race(candidates, turns);
        let task = format!("product {m} × {k} × {n}");
        report.add(&task, &lanes, "matrixmultiply", &|name| match name {
            "hasher" => vec![Bound::Ratio(0.6)],
            _ => Vec::new(),
        });
    }
}

#[expect(unsafe_code, reason = "the peer takes pointers")]
fn multiply([m, k, n]: [usize; 3], a: &[f32], b: &[f32], c: &mut [f32]) {
    assert_eq!([a.len(), b.len(), c.len()], [m * k, k * n, m * n]);
    // SAFETY: the strides are those of matrices stored by rows, whose lengths were checked.
    unsafe {
        matrixmultiply::sgemm(
            m,
            k,
            n,
            1.0,
            a.as_ptr(),
            k as isize,
            1,
            b.as_ptr(),
            n as isize,
            1,
            1.0,
            c.as_mut_ptr(),
            n as isize,
            1,
        );
    }
}
