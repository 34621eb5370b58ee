use super::*;
use crate::data::digits;
use crate::{TrainConfig, Trainer};

fn model(data: &Dataset, steps: u32) -> Model {
    let config = TrainConfig {
        steps,
        warm_up: 10,
        ..TrainConfig::default()
    };
    let mut trainer = Trainer::new(config, data).unwrap();
    while !trainer.is_finished() {
        trainer.step().unwrap();
    }
    trainer.model().unwrap()
}

/// The digits with a test part of `count` images, so that tests stay quick.
fn few(count: usize) -> Dataset {
    let rows = crate::data::digit_rows();
    Dataset::from_rows(&rows[..count * 2], 50, 1).unwrap()
}

fn judgement(is_correct: bool, confidence: f64) -> Judgement {
    Judgement {
        passes: 3,
        label: u16::from(!is_correct),
        prediction: 0,
        vote: 0,
        confidence,
        agreement: 1.0,
        margin: confidence,
        entropy_bits: 0.0,
        label_bits: 1.0,
    }
}

fn options(passes: &[u16], threads: usize) -> EvalOptions<'_> {
    EvalOptions {
        passes,
        skip: 0,
        threads,
    }
}

#[test]
fn any_number_of_threads_gives_the_same_evaluation() {
    let data = few(11);
    let model = model(&data, 20);
    let run = |threads| evaluate(&model, &data, Part::Test, options(&[1, 3], threads)).unwrap();
    let one = run(1);
    assert_eq!(one.examples, 11);
    for threads in [2, 3, 7, 100] {
        assert_eq!(run(threads), one, "{threads} threads");
    }
}

#[test]
fn a_smaller_number_of_passes_is_a_prefix_of_the_larger() {
    let data = few(10);
    let model = model(&data, 20);
    let both = evaluate(&model, &data, Part::Test, options(&[5, 1], 2)).unwrap();
    let single = evaluate(&model, &data, Part::Test, options(&[1], 2)).unwrap();
    assert_eq!(both.rows[1], single.rows[0]);
    assert_eq!((both.rows[0].passes, both.rows[1].passes), (5, 1));
    assert_eq!((both.anchors, single.anchors), (50, 10));
    assert_eq!(both.oracle.digests, 5 * single.oracle.digests);
    // 9 tokens, 2 layers: 73 lanes and 91 digests a pass (specification, 12.5).
    let per_pass = OracleCount {
        lanes: 730,
        digests: 910,
    };
    assert_eq!(single.oracle, per_pass);
}

#[test]
fn the_exact_inference_agrees_with_the_training_networks_accuracy() {
    let data = digits();
    let model = model(&data, 150);
    let row = evaluate(&model, &data, Part::Test, options(&[1], 2))
        .unwrap()
        .rows[0];
    // 150 steps give the float network about 90 %; a mismatch between the two
    // networks would give far less.
    assert!(row.accuracy > 0.8, "{row:?}");
    assert!((row.accuracy - row.mean_confidence).abs() < 0.15, "{row:?}");
}

#[test]
fn the_simulated_network_is_as_good_as_the_exact_one() {
    let data = digits();
    let config = TrainConfig {
        steps: 150,
        warm_up: 10,
        ..TrainConfig::default()
    };
    let mut trainer = Trainer::new(config, &data).unwrap();
    while !trainer.is_finished() {
        trainer.step().unwrap();
    }
    let exact = evaluate(
        &trainer.model().unwrap(),
        &data,
        Part::Test,
        options(&[3], 2),
    )
    .unwrap();
    let simulated = simulate(&trainer, &data, Part::Test, options(&[3], 2)).unwrap();
    let gap = exact.rows[0].accuracy - simulated.rows[0].accuracy;
    assert!(gap.abs() < 0.03, "{exact:?}");
    let gap = exact.rows[0].label_bits - simulated.rows[0].label_bits;
    assert!(gap.abs() < 0.05, "{gap}");
}

#[test]
fn withholding_unsure_answers_leaves_the_better_ones() {
    let judgements = [
        judgement(true, 0.97),
        judgement(false, 0.32),
        judgement(true, 0.91),
    ];
    let curve = abstention(&judgements);
    let at = |threshold: f64| {
        let same = |p: &&AbstentionPoint| (p.threshold - threshold).abs() < 1e-9;
        *curve.iter().find(same).unwrap()
    };
    assert_eq!((at(0.0).coverage, at(0.0).accuracy), (1.0, 2.0 / 3.0));
    assert_eq!((at(0.9).coverage, at(0.9).accuracy), (2.0 / 3.0, 1.0));
    assert!(
        curve.iter().all(|p| p.threshold < 0.98),
        "nothing is left at 0.99"
    );
    let filled: usize = calibration(&judgements).iter().map(|bin| bin.count).sum();
    assert_eq!(filled, 3);
}

#[test]
fn calibration_error_is_the_weighted_gap_of_the_bins() {
    // One bin with confidence .95, half of it wrong; one with .5, right.
    let judgements = [
        judgement(true, 0.95),
        judgement(false, 0.95),
        judgement(true, 0.5),
        judgement(true, 1.0),
    ];
    let expected = ((1.0f64 - 1.9 + 1.0 - 1.0).abs() + 0.5) / 4.0;
    assert!((calibration_error(&judgements) - expected).abs() < 1e-12);
    let perfect = [judgement(true, 1.0), judgement(true, 1.0)];
    assert_eq!(calibration_error(&perfect), 0.0);
}

#[test]
fn rows_are_means_over_examples() {
    let row = row(3, &[judgement(true, 0.8), judgement(false, 0.4)]);
    assert_eq!((row.passes, row.accuracy, row.agreement), (3, 0.5, 1.0));
    assert!((row.mean_confidence - 0.6).abs() < 1e-12);
}

#[test]
fn what_cannot_be_evaluated_is_named() {
    let data = few(5);
    let model = model(&data, 1);
    let text = |data: &Dataset, part, passes: &[u16]| {
        evaluate(&model, data, part, options(passes, 1))
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        text(&data, Part::Test, &[]),
        "passes must be 1 to 255, got 0"
    );
    assert_eq!(
        text(&data, Part::Test, &[3, 256]),
        "passes must be 1 to 255, got 256"
    );
    let no_test = Dataset::from_rows(&crate::data::digit_rows()[..9], 0, 1).unwrap();
    assert_eq!(
        text(&no_test, Part::Test, &[1]),
        "there is no example to evaluate"
    );
    let shape = crate::data::DataShape {
        positions: 1,
        inputs: 2,
        input_fraction: 0,
        classes: 10,
    };
    let other = Dataset::new(shape, vec![0; 2], vec![3], vec![0], vec![]).unwrap();
    assert_eq!(
        text(&other, Part::Train, &[1]),
        "the model takes 9 × 16 codes with 4 fraction bits, 10 classes; \
         the data has 1 × 2 codes with 0 fraction bits, 10 classes"
    );
}

#[test]
fn the_digits_model_is_a_55th_of_float32() {
    let data = few(5);
    let footprint = Footprint::of(&model(&data, 1));
    assert_eq!(
        footprint,
        Footprint {
            seed_bytes: 4928,
            float32_bytes: 274_216
        }
    );
}
