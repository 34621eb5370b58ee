use hasher_kernel::{ScanOrder, scan};
use hasher_work::Nonce;
use serde_json::Value;

use super::*;
use crate::{DirectAnchors, probabilities, vectors};

/// Solves anchors on the CPU and remembers how it was asked.
#[derive(Default)]
struct CpuAnchors {
    batches: Vec<usize>,
}

impl AnchorSource for CpuAnchors {
    type Error = ();

    fn solve(&mut self, wanted: &[AnchorRequest]) -> Result<Vec<Solution>, ()> {
        self.batches.push(wanted.len());
        Ok(wanted.iter().map(solve).collect())
    }
}

fn solve(wanted: &AnchorRequest) -> Solution {
    let job = wanted.search_job(0);
    let (mut solution, work) = (Solution::DIRECT, job.header.work());
    scan(
        &work,
        job.range.first().0,
        job.range.count(),
        ScanOrder::Header,
        &job.target,
        |nonce, _| {
            solution.nonce = nonce;
            false
        },
    );
    solution
}

fn direct(level: Level, passes: u16) -> Options {
    Options {
        passes,
        level,
        ..Options::default()
    }
}

fn run(model: &Model, request: &Request, options: Options) -> Outcome {
    predict(model, request, options, &mut DirectAnchors).unwrap()
}

fn tiny() -> (Model, Request, Value) {
    let entry = vectors::load()["tiny"].clone();
    let request = Request::new(
        vectors::bytes_of(&entry["request_nonce"]),
        vectors::ints(&entry["input"]),
    );
    (vectors::model(&entry), request, entry)
}

fn logits(outcome: &Outcome) -> Vec<i32> {
    outcome
        .passes
        .iter()
        .flat_map(|p| p.logits.clone())
        .collect()
}

#[test]
fn the_tiny_classifier_meets_its_published_logits_at_both_levels() {
    let (model, request, entry) = tiny();
    let outcome = run(&model, &request, direct(Level::Pass, 3));
    assert_eq!(
        logits(&outcome),
        vectors::ints::<i32>(&entry["logits_q16_level1"])
    );
    assert_eq!(
        outcome.ensemble.mean_p_q16(),
        vectors::ints::<u32>(&entry["mean_p_q16"])
    );
    assert_eq!(outcome.ensemble.prediction(), 0);
    assert_eq!(outcome.anchors, [Solution::DIRECT; 3]);

    let outcome = run(&model, &request, direct(Level::Layer, 2));
    assert_eq!(
        logits(&outcome),
        vectors::ints::<i32>(&entry["logits_q16_level2"])
    );
    assert_eq!(outcome.anchors.len(), 2 * 2);
}

#[test]
fn the_tiny_language_model_meets_its_published_logits() {
    let entry = vectors::load()["tiny_lm"].clone();
    let model = vectors::model(&entry);
    let request = Request::of_tokens([0; 16], &vectors::ints::<u32>(&entry["tokens"]));
    let expected = &entry["logits_q16_level1"];
    let passes = expected.as_array().unwrap().len() as u16;
    let outcome = run(&model, &request, direct(Level::Pass, passes));
    assert_eq!(logits(&outcome), vectors::ints::<i32>(expected));
    let answer = outcome.passes[0].answer_logits(16);
    assert_eq!(answer, vectors::ints::<i32>(&expected[0][3]));
    assert_eq!(outcome.passes[0].probabilities, probabilities(answer));
}

#[test]
fn models_of_any_size_may_follow_one_another_on_a_thread() {
    let all = vectors::load();
    let requests = ["tiny", "tiny_lm", "digits_hb32"].map(|name| {
        let entry = &all[name];
        let request = match entry.get("tokens") {
            Some(tokens) => Request::of_tokens([0; 16], &vectors::ints::<u32>(tokens)),
            None => {
                let model = vectors::model(entry);
                let inputs = model.config().positions * model.config().inputs;
                let input = entry
                    .get("inputs")
                    .map_or(&entry["input"], |inputs| &inputs[0]);
                let input: Vec<u8> = vectors::ints(input);
                assert_eq!(input.len(), inputs as usize);
                Request::new([7; 16], input)
            }
        };
        (vectors::model(entry), request)
    });
    let answers = |order: [usize; 3]| {
        order.map(|at| {
            let (model, request) = &requests[at];
            logits(&run(model, request, direct(Level::Pass, 5)))
        })
    };
    let [tiny, text, digits] = answers([0, 1, 2]);
    assert_eq!(
        answers([2, 0, 1]),
        [digits.clone(), tiny.clone(), text.clone()]
    );
    assert_eq!(answers([1, 2, 0]), [text, digits, tiny]);
}

#[test]
fn a_shorter_text_sees_the_same_past() {
    let entry = vectors::load()["tiny_lm"].clone();
    let model = vectors::model(&entry);
    let tokens: Vec<u32> = vectors::ints(&entry["tokens"]);
    // Without dither of its own anchor the first positions would be equal; the
    // request id differs, so only the embedding can be compared exactly.
    let mut forward = Forward::new(&model);
    let long = forward.embed(&Request::of_tokens([0; 16], &tokens));
    let short = forward.embed(&Request::of_tokens([0; 16], &tokens[..2]));
    assert_eq!(short, long[..short.len()]);
    let outcome = run(
        &model,
        &Request::of_tokens([0; 16], &tokens[..2]),
        direct(Level::Layer, 2),
    );
    assert_eq!(outcome.passes[0].logits.len(), 2 * 16);
}

#[test]
fn the_trained_digits_model_meets_its_published_logits_and_labels() {
    let entry = vectors::load()["digits_hb32"].clone();
    let model = vectors::model(&entry);
    let images = entry["inputs"].as_array().unwrap();
    assert_eq!(images.len(), 3);
    for (i, image) in images.iter().enumerate() {
        let request = Request::new([0; 16], vectors::ints(image));
        let expected = &entry["logits_q16_level1"][i];
        let passes = expected.as_array().unwrap().len() as u16;
        let outcome = run(&model, &request, direct(Level::Pass, passes));
        assert_eq!(
            logits(&outcome),
            vectors::ints::<i32>(expected),
            "image {i}"
        );
        let full = run(&model, &request, Options::default());
        assert_eq!(
            full.ensemble.prediction() as u64,
            entry["labels"][i].as_u64().unwrap()
        );
        // The published cost: 73 lanes and 91 digests per pass.
        assert_eq!((full.oracle.lanes, full.oracle.digests), (73 * 21, 91 * 21));
        assert_eq!(full.after(passes.into()), Some(outcome.ensemble));
    }
}

#[test]
fn level_0_asks_once_and_its_passes_still_differ() {
    let (model, request, _) = tiny();
    let mut source = CpuAnchors::default();
    let options = Options {
        mode: Mode::Work { zero_bits: 8 },
        ..direct(Level::Request, 5)
    };
    let outcome = predict(&model, &request, options, &mut source).unwrap();
    assert_eq!(source.batches, [1]);
    assert_eq!(outcome.anchors.len(), 1);
    assert_eq!(outcome.passes.len(), 5);
    assert_ne!(outcome.passes[0].logits, outcome.passes[1].logits);
}

#[test]
fn work_is_asked_for_in_one_batch_per_step() {
    let (model, request, _) = tiny();
    for (level, passes, batches) in [
        (Level::Pass, 7, vec![7]),
        (Level::Layer, 7, vec![7, 7]),
        (Level::Layer, 40, vec![32, 32, 8, 8]),
    ] {
        let mut source = CpuAnchors::default();
        let options = Options {
            mode: Mode::Work { zero_bits: 9 },
            ..direct(level, passes)
        };
        let outcome = predict(&model, &request, options, &mut source).unwrap();
        assert_eq!(source.batches, batches);
        assert_eq!(outcome.passes.len(), usize::from(passes));
        assert_eq!(outcome.anchors.len(), batches.iter().sum::<usize>());
        assert!(outcome.zero_bits.iter().all(|bits| *bits >= 9));
        // Replayed by pass and layer, the record gives the same outcome.
        assert_eq!(replay(&model, &request, options, &outcome), outcome);
    }
}

/// Feeds recorded anchors to a fresh inference, whatever its batches are.
fn replay(model: &Model, request: &Request, options: Options, of: &Outcome) -> Outcome {
    let stages = of.anchors.len() / of.passes.len();
    let mut inference = Inference::new(model, request, options).unwrap();
    while !inference.wanted().is_empty() {
        let solutions: Vec<Solution> = inference
            .wanted()
            .iter()
            .map(|wanted| {
                let pass = usize::from(wanted.point.pass.unwrap());
                of.anchors[pass * stages + usize::from(wanted.point.layer.unwrap_or(0))]
            })
            .collect();
        inference.supply(&solutions).unwrap();
    }
    inference.finish().unwrap()
}

#[test]
fn an_early_stop_makes_no_pass_too_many_and_asks_for_no_anchor_in_vain() {
    let (model, request, _) = tiny();
    for level in [Level::Request, Level::Pass, Level::Layer] {
        let full = run(&model, &request, direct(level, 30));
        let mut source = CpuAnchors::default();
        let options = Options {
            early_stop: true,
            ..direct(level, 30)
        };
        let stopped = run(&model, &request, options);
        let passes = stopped.passes.len();
        assert!((3..30).contains(&passes));
        assert_eq!(stopped.passes, full.passes[..passes]);
        assert!(stopped.ensemble.is_settled());
        assert!(!full.after(passes - 1).unwrap().is_settled());
        let options = Options {
            mode: Mode::Work { zero_bits: 8 },
            ..options
        };
        let worked = predict(&model, &request, options, &mut source).unwrap();
        assert_eq!(source.batches.iter().sum::<usize>(), worked.anchors.len());
    }
}

#[test]
fn wrong_options_and_solutions_are_refused_and_harmless() {
    let (model, request, _) = tiny();
    let new = |options| Inference::new(&model, &request, options).map(|_| ());
    assert_eq!(new(direct(Level::Pass, 0)), Err(InferenceError::Passes(0)));
    assert_eq!(
        new(direct(Level::Pass, 256)),
        Err(InferenceError::Passes(256))
    );
    for zero_bits in [7, 33] {
        let mode = Mode::Work { zero_bits };
        let options = Options {
            mode,
            ..Options::default()
        };
        assert_eq!(new(options), Err(InferenceError::ZeroBits(zero_bits)));
    }
    let short = Request::new([0; 16], vec![0; 5]);
    assert!(matches!(
        Inference::new(&model, &short, Options::default()),
        Err(InferenceError::Request(_))
    ));

    let options = Options {
        mode: Mode::Work { zero_bits: 8 },
        ..direct(Level::Pass, 2)
    };
    let mut inference = Inference::new(&model, &request, options).unwrap();
    assert_eq!(
        inference.supply(&[Solution::DIRECT]),
        Err(InferenceError::SolutionCount {
            expected: 2,
            got: 1
        })
    );
    let good: Vec<Solution> = inference.wanted().iter().map(solve).collect();
    let bad = Solution {
        nonce: Nonce(good[1].nonce.0 ^ 1),
        ..good[1]
    };
    assert!(matches!(
        inference.supply(&[good[0], bad]),
        Err(InferenceError::Anchor {
            index: 1,
            source: AnchorError::ZeroBits { wanted: 8, .. }
        })
    ));
    assert_eq!(inference.wanted().len(), 2);
    inference.supply(&good).unwrap();
    assert!(inference.wanted().is_empty());
    inference.supply(&[]).unwrap();
    assert_eq!(inference.finish().unwrap().passes.len(), 2);
}

#[test]
fn an_unfinished_inference_has_no_outcome() {
    let (model, request, _) = tiny();
    let inference = Inference::new(&model, &request, Options::default()).unwrap();
    assert!(inference.finish().is_none());
}

#[test]
fn a_failing_source_ends_the_inference() {
    struct Gone;
    impl AnchorSource for Gone {
        type Error = &'static str;
        fn solve(&mut self, _: &[AnchorRequest]) -> Result<Vec<Solution>, &'static str> {
            Err("no device")
        }
    }
    let (model, request, _) = tiny();
    assert_eq!(
        predict(&model, &request, Options::default(), &mut Gone),
        Err(PredictError::Source("no device"))
    );
}
