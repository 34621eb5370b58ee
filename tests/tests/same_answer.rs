//! Same anchors, same bytes: which engine found them, and how many threads compute,
//! makes no difference to an answer.

#![expect(clippy::unwrap_used, reason = "a test may panic in its helpers too")]

use std::thread;

use hasher_client::{ClientError, Engine, LocalEngine, RemoteEngine};
use hasher_model::{
    AnchorRequest, AnchorSource, Level, Mode, Model, Options, Outcome, Receipt, Request, Solution,
    predict, verify,
};
use hasher_tests::Daemon;
use hasher_work::from_hex;
use serde_json::Value;

/// Difficulty that the simulated chips and a CPU reach in milliseconds.
const ZERO_BITS: u32 = 12;
/// Time fields one job may try; a work of the simulated S1 answers 0.83 times.
const ROLLS: u16 = 63;

/// The trained digits model of the recorded vectors and its first image.
fn digits() -> (Model, Request) {
    let text = include_str!("../fixtures/hash-transformer-vectors.json");
    let vectors: Value = serde_json::from_str(text).expect("the fixture is JSON");
    let digits = &vectors["digits_hb32"];
    let mut file = from_hex(digits["manifest"].as_str().unwrap()).unwrap();
    for seed in digits["seeds"].as_array().unwrap() {
        file.extend(from_hex(seed.as_str().unwrap()).unwrap());
    }
    let patches = digits["inputs"][0].as_array().unwrap().iter();
    let input = patches.flat_map(|patch| patch.as_array().unwrap());
    let input = input.map(|code| code.as_u64().unwrap() as u8).collect();
    let model = Model::from_bytes(&file).expect("the recorded model is sound");
    (model, Request::new([7; 16], input))
}

fn options(level: Level) -> Options {
    Options {
        passes: 3,
        level,
        mode: Mode::Work {
            zero_bits: ZERO_BITS,
        },
        ..Options::default()
    }
}

/// Anchors found by an engine, kept in the order in which they were asked for.
struct Searched<'a> {
    engine: &'a dyn Engine,
    found: Vec<Solution>,
}

impl AnchorSource for Searched<'_> {
    type Error = ClientError;

    fn solve(&mut self, wanted: &[AnchorRequest]) -> Result<Vec<Solution>, ClientError> {
        let jobs: Vec<_> = wanted
            .iter()
            .map(|anchor| anchor.search_job(ROLLS))
            .collect();
        let answers = self.engine.search(&jobs)?.into_iter();
        let solutions: Vec<_> = answers
            .map(|answer| {
                let hit = answer.result.hits[0];
                Solution {
                    attempt: hit.time,
                    nonce: hit.nonce,
                }
            })
            .collect();
        self.found.extend_from_slice(&solutions);
        Ok(solutions)
    }
}

/// Anchors found earlier, in the order in which they were asked for.
struct Recorded(std::vec::IntoIter<Solution>);

impl AnchorSource for Recorded {
    type Error = std::convert::Infallible;

    fn solve(&mut self, wanted: &[AnchorRequest]) -> Result<Vec<Solution>, Self::Error> {
        Ok(self.0.by_ref().take(wanted.len()).collect())
    }
}

/// Everything about an answer in bytes.
fn bytes(model: &Model, request: &Request, level: Level, outcome: &Outcome) -> Vec<u8> {
    Receipt::new(model, request, &options(level), outcome).to_bytes()
}

fn answers_do_not_depend_on_who_computes(engine: &dyn Engine) {
    let (model, request) = digits();
    for level in [Level::Request, Level::Pass, Level::Layer] {
        let found = Vec::new();
        let mut source = Searched { engine, found };
        let outcome = predict(&model, &request, options(level), &mut source)
            .expect("the engine finds the anchors");
        let first = bytes(&model, &request, level, &outcome);
        let receipt = Receipt::from_bytes(&first).expect("a written receipt is readable");
        verify(&receipt, &model, ZERO_BITS).expect("an honest receipt is verified");
        thread::scope(|scope| {
            let again: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let mut source = Recorded(source.found.clone().into_iter());
                        predict(&model, &request, options(level), &mut source).unwrap()
                    })
                })
                .collect();
            for again in again {
                let again = again.join().expect("no thread panics");
                assert_eq!(bytes(&model, &request, level, &again), first);
            }
        });
    }
}

fn remote(daemon: &Daemon) -> RemoteEngine {
    let client = daemon.client().connect_blocking();
    RemoteEngine::new(client.expect("the daemon serves"))
}

#[test]
fn answers_backed_by_the_cpu_engine_are_repeatable_bit_for_bit() {
    answers_do_not_depend_on_who_computes(&LocalEngine::default());
}

#[test]
fn answers_backed_by_a_simulated_s1_are_repeatable_bit_for_bit() {
    let daemon = Daemon::start(&["sim:s1,zero-bits=12"]);
    answers_do_not_depend_on_who_computes(&remote(&daemon));
}

#[test]
fn answers_backed_by_a_simulated_s3_are_repeatable_bit_for_bit() {
    let daemon = Daemon::start(&["sim:s3,zero-bits=12"]);
    answers_do_not_depend_on_who_computes(&remote(&daemon));
}
