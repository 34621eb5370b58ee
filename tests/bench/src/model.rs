//! Inference of the digits model in direct mode, on one core.

use std::hint::black_box;

use hasher_model::{DirectAnchors, Model, Options, Request, predict};
use hasher_train::data::digits;
use hasher_train::{TrainConfig, Trainer};

use crate::race::{Candidate, race};
use crate::report::Report;

/// One image at the default 21 passes, and at one pass. The model has not been trained:
/// time does not depend on what it knows.
pub fn inference(turns: usize, report: &mut Report) {
    let data = digits();
    let trainer = Trainer::new(TrainConfig::default(), &data).expect("the default fits the digits");
    let model = trainer.model().expect("an untrained model is a model");
    let request = Request::new([7; 16], data.codes(0).to_vec());
    let candidates = [1, 21]
        .map(|passes| {
            let (model, request) = (&model, &request);
            Candidate::new(name(passes), move || {
                black_box(infer(model, request, passes));
                1
            })
        })
        .into();
    report.add("inference", &race(candidates, turns), &name(1), &|_| {
        Vec::new()
    });
}

fn name(passes: u16) -> String {
    format!("{passes} passes")
}

fn infer(model: &Model, request: &Request, passes: u16) -> usize {
    let options = Options {
        passes,
        ..Options::default()
    };
    let outcome = predict(model, request, options, &mut DirectAnchors).expect("the request fits");
    outcome.ensemble.prediction()
}
