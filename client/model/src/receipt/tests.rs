use hasher_kernel::{ScanOrder, scan};
use proptest::prelude::*;

use super::*;
use crate::{
    AnchorError, AnchorRequest, AnchorSource, DirectAnchors, Refusal, check_anchors, predict,
    vectors, verify,
};

/// Solves anchors on the CPU.
pub(super) struct CpuAnchors;

impl AnchorSource for CpuAnchors {
    type Error = std::convert::Infallible;

    fn solve(&mut self, wanted: &[AnchorRequest]) -> Result<Vec<Solution>, Self::Error> {
        Ok(wanted
            .iter()
            .map(|wanted| {
                let job = wanted.search_job(0);
                let mut solution = Solution::DIRECT;
                scan(
                    &job.header.work(),
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
            })
            .collect())
    }
}

pub(super) fn tiny() -> Model {
    vectors::model(&vectors::load()["tiny"])
}

pub(super) fn tiny_request() -> Request {
    Request::new(
        *b"what was asked??",
        vectors::ints(&vectors::load()["tiny"]["input"]),
    )
}

pub(super) fn options(level: Level, zero_bits: u32, passes: u16) -> Options {
    Options {
        passes,
        level,
        mode: match zero_bits {
            0 => Mode::Direct,
            zero_bits => Mode::Work { zero_bits },
        },
        early_stop: false,
    }
}

fn receipt(model: &Model, options: Options) -> Receipt {
    let request = tiny_request();
    let outcome = match options.mode {
        Mode::Direct => predict(model, &request, options, &mut DirectAnchors).unwrap(),
        Mode::Work { .. } => predict(model, &request, options, &mut CpuAnchors).unwrap(),
    };
    Receipt::new(model, &request, &options, &outcome)
}

/// Every level with and without work.
fn receipts(model: &Model) -> Vec<Receipt> {
    let mut all = Vec::new();
    for level in [Level::Request, Level::Pass, Level::Layer] {
        for zero_bits in [0, 10] {
            all.push(receipt(model, options(level, zero_bits, 4)));
        }
    }
    all
}

/// The content with a right check sum.
fn sealed(mut content: Vec<u8>) -> Vec<u8> {
    content.extend(digest(&content).0);
    content
}

/// What a verifier does with a file, in words; nothing when it accepts.
fn refusal(bytes: &[u8], model: &Model) -> Option<String> {
    match Receipt::from_bytes(bytes) {
        Err(error) => Some(error.to_string()),
        Ok(receipt) => verify(&receipt, model, 0).err().map(|e| e.to_string()),
    }
}

#[test]
fn honest_receipts_are_accepted_and_come_back_byte_for_byte() {
    let model = tiny();
    for receipt in receipts(&model) {
        let bytes = receipt.to_bytes();
        assert_eq!(Receipt::from_bytes(&bytes).unwrap(), receipt);
        let report = verify(&receipt, &model, 0).unwrap();
        assert_eq!(
            report.outcome.ensemble.prediction(),
            usize::from(receipt.prediction())
        );
        assert_eq!(report.anchors.zero_bits.len(), receipt.anchors().len());
        assert_eq!(report.anchors.worked, receipt.is_worked());
        if receipt.is_worked() {
            assert!(report.anchors.zero_bits_min() >= 10);
            let anchors = receipt.anchors().len() as f64;
            assert!(report.anchors.expected_hashes() >= 1024.0 * anchors);
        } else {
            assert_eq!(report.anchors.expected_hashes(), 0.0);
        }
        match receipt.level() {
            Level::Layer => assert_eq!(check_anchors(&receipt, 0), Err(Refusal::NeedsModel)),
            _ => assert_eq!(check_anchors(&receipt, 0), Ok(report.anchors)),
        }
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    let model = tiny();
    for receipt in receipts(&model) {
        let good = receipt.to_bytes();
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Receipt::from_bytes(&bytes).is_err(), "bit {bit}");
        }
    }
}

#[test]
fn every_flipped_bit_is_refused_after_the_check_sum_was_recomputed() {
    let model = tiny();
    for receipt in receipts(&model) {
        let good = receipt.to_bytes();
        let content = &good[..good.len() - 32];
        for bit in 0..content.len() * 8 {
            let mut bytes = content.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(refusal(&sealed(bytes), &model).is_some(), "bit {bit}");
        }
    }
}

/// A model with one byte changed, plain and with the seed's check sum recomputed.
fn changed_models(bytes: &[u8], head: usize, at: usize, flip: u8) -> [Vec<u8>; 2] {
    let mut plain = bytes.to_vec();
    plain[at] ^= flip;
    let mut sealed = plain.clone();
    if at >= head {
        let first = head + (at - head) / crate::SEED_BYTES * crate::SEED_BYTES;
        let crc = crate::repair::SEED_CRC.checksum(&sealed[first..first + 28]);
        sealed[first + 28..first + 32].copy_from_slice(&crc.to_le_bytes());
    }
    [plain, sealed]
}

#[test]
fn no_changed_byte_of_the_model_lets_its_receipt_pass() {
    let model = tiny();
    let receipt = receipt(&model, options(Level::Pass, 0, 2));
    let bytes = model.to_bytes();
    let head = bytes.len() - model.weight_bytes();
    let (mut read, mut claimed) = (0, 0);
    for (at, flip) in (0..bytes.len()).flat_map(|at| [(at, 1), (at, 0x80), (at, 0xff)]) {
        for changed in changed_models(&bytes, head, at, flip) {
            if changed == bytes {
                continue; // a changed check sum that was recomputed
            }
            let Ok(other) = Model::from_bytes(&changed) else {
                continue;
            };
            read += 1;
            let refusal = verify(&receipt, &other, 0).unwrap_err();
            assert!(
                matches!(refusal, Refusal::Model { .. }),
                "byte {at}: {refusal}"
            );
            // Even a receipt that claims to be the other model's, with a right check
            // sum, has the wrong numbers: the identity is in every dither.
            if flip == 1 {
                let mut forged = receipt.to_bytes();
                forged.truncate(forged.len() - 32);
                forged[9..41].copy_from_slice(&other.id().0.0);
                let reason = self::refusal(&sealed(forged), &other);
                assert!(reason.is_some(), "byte {at}");
                claimed += 1;
            }
        }
    }
    assert!(
        read > 500 && claimed > 100,
        "{read} read, {claimed} claimed"
    );
}

#[test]
fn every_shorter_and_every_longer_file_is_refused() {
    let model = tiny();
    let good = receipt(&model, options(Level::Pass, 9, 3)).to_bytes();
    for length in 0..good.len() {
        assert!(
            matches!(
                Receipt::from_bytes(&good[..length]),
                Err(ReceiptError::Truncated(_))
            ),
            "{length}"
        );
    }
    for length in 0..good.len() - 32 {
        // The new check sum stands where contents should be.
        assert!(
            Receipt::from_bytes(&sealed(good[..length].to_vec())).is_err(),
            "{length}"
        );
    }
    let mut longer = good.clone();
    longer.extend([0; 3]);
    assert_eq!(Receipt::from_bytes(&longer), Err(ReceiptError::Trailing(3)));
    let resealed = sealed([&good[..good.len() - 32], &[7]].concat());
    assert!(matches!(
        Receipt::from_bytes(&resealed),
        Err(ReceiptError::Trailing(1))
    ));
    assert_eq!(
        Receipt::from_bytes(&vec![0; RECEIPT_BYTES_MAX + 1]),
        Err(ReceiptError::TooLarge(RECEIPT_BYTES_MAX + 1))
    );
}

#[test]
fn every_changed_field_is_refused_with_its_own_reason() {
    let model = tiny();
    let worked = receipt(&model, options(Level::Pass, 12, 4));
    let direct = receipt(&model, options(Level::Pass, 0, 4));
    let reason = |of: &Receipt, change: &dyn Fn(&mut Receipt)| {
        let mut changed = of.clone();
        change(&mut changed);
        // Through bytes, so that the check sum is recomputed.
        refusal(&changed.to_bytes(), &model).expect("a changed field is refused")
    };
    type Change<'a> = &'a dyn Fn(&mut Receipt);
    let cases: &[(&Receipt, Change<'_>, &str)] = &[
        (&worked, &|r| r.model.0.0[31] ^= 1, "receipt is for model "),
        (
            &worked,
            &|r| r.request = Request::new([0; 16], r.request.input().to_vec()),
            "anchor 0 is refused",
        ),
        (
            &worked,
            &|r| r.request = Request::new(*r.request.nonce(), vec![3; 48]),
            "anchor 0 is refused",
        ),
        (
            &worked,
            &|r| r.request = Request::new(*r.request.nonce(), vec![3; 47]),
            "input does not fit the model",
        ),
        (
            &worked,
            &|r| r.level = Level::Request,
            "number of anchors is 4, must be 1 at level 0",
        ),
        (
            &worked,
            &|r| r.level = Level::Layer,
            "receipt has 4 anchors, model and level ask for 8",
        ),
        (&worked, &|r| r.worked = false, "anchor 0 is refused"),
        (&direct, &|r| r.worked = true, "anchor 0 is refused"),
        (&worked, &|r| r.settled = !r.settled, "early-stop flag is "),
        (
            &worked,
            &|r| r.anchors[2].attempt = 1,
            "anchor 2 is refused",
        ),
        (
            &worked,
            &|r| r.anchors[3].nonce.0 ^= 1,
            "anchor 3 is refused",
        ),
        (&worked, &|r| r.anchors.swap(0, 1), "anchor 0 is refused"),
        (
            &direct,
            &|r| r.anchors[1].nonce.0 = 1,
            "anchor 1 is refused",
        ),
        (
            &worked,
            &|r| {
                r.anchors.pop();
            },
            "number of anchors is 3, must be the number of passes at level 1",
        ),
        (
            &worked,
            &|r| {
                r.logits.pop();
                r.anchors.pop();
            },
            // One pass less is another, honest-looking inference; its means differ.
            "mean probability of class ",
        ),
        (
            &worked,
            &|r| r.logits[2][1] += 1,
            "logit of class 1 in pass 2 is ",
        ),
        (
            &worked,
            &|r| r.mean_p_q16[3] += 1,
            "mean probability of class 3 is ",
        ),
        (
            &worked,
            &|r| {
                r.mean_p_q16.pop();
                r.logits.iter_mut().for_each(|row| {
                    row.pop();
                });
            },
            "receipt has 3 classes, the model 4",
        ),
        (
            &worked,
            &|r| r.prediction = 3,
            "prediction is 3, the passes give 0",
        ),
        (&worked, &|r| r.confidence_q16 += 1, "confidence is "),
        (
            &worked,
            &|r| r.agreeing -= 1,
            "number of agreeing passes is 3, the passes give 4",
        ),
    ];
    for (i, (of, change, start)) in cases.iter().enumerate() {
        let reason = reason(of, change);
        assert!(reason.starts_with(start), "case {i}: {reason}");
    }
    let patch = |at: usize, byte: u8| {
        let bytes = worked.to_bytes();
        let mut content = bytes[..bytes.len() - 32].to_vec();
        content[at] = byte;
        refusal(&sealed(content), &model).expect("a changed byte is refused")
    };
    assert_eq!(
        patch(0, b'X'),
        "not a receipt: it does not begin with \"HSHR\""
    );
    assert_eq!(
        patch(4, 2),
        "receipt format version 2 is unknown, expected 1"
    );
    assert_eq!(patch(6, 3), "level is 3, must be 0, 1 or 2");
    assert_eq!(patch(7, 2), "mode is 2, must be 0 or 1");
    assert_eq!(patch(8, 9), "early-stop flag is 9, must be 0 or 1");
}

#[test]
fn a_receipt_without_passes_or_classes_is_refused() {
    let model = tiny();
    let mut empty = receipt(&model, options(Level::Request, 0, 1));
    empty.logits.clear();
    let text = |receipt: &Receipt| refusal(&receipt.to_bytes(), &model).unwrap();
    assert_eq!(text(&empty), "number of passes is 0, must be 1 to 255");
    empty.logits = vec![Vec::new()];
    empty.mean_p_q16.clear();
    assert_eq!(text(&empty), "number of classes is 0, must be 1 to 4096");
}

#[test]
fn the_verifier_decides_how_much_work_it_takes() {
    let model = tiny();
    let worked = receipt(&model, options(Level::Pass, 9, 6));
    let report = verify(&worked, &model, 9).unwrap();
    let min = report.anchors.zero_bits_min();
    assert!(verify(&worked, &model, min).is_ok());
    for demanded in [min + 1, 33, 256, u32::MAX] {
        let too_few = |refusal: Refusal| {
            let Refusal::Anchor { source, .. } = refusal else {
                panic!("{refusal}");
            };
            matches!(source, AnchorError::ZeroBits { got, .. } if got < demanded)
        };
        assert!(too_few(verify(&worked, &model, demanded).unwrap_err()));
        assert!(too_few(check_anchors(&worked, demanded).unwrap_err()));
    }
    let direct = receipt(&model, options(Level::Pass, 0, 6));
    assert_eq!(verify(&direct, &model, 1), Err(Refusal::NoWork(1)));
    assert_eq!(check_anchors(&direct, 8), Err(Refusal::NoWork(8)));
}

#[test]
fn the_early_stop_flag_says_where_an_early_stop_would_end() {
    let model = tiny();
    let full = receipt(&model, options(Level::Pass, 0, 21));
    assert!(!full.is_settled_by_last_pass());
    let request = tiny_request();
    let stopping = Options {
        early_stop: true,
        ..options(Level::Pass, 0, 21)
    };
    let outcome = predict(&model, &request, stopping, &mut DirectAnchors).unwrap();
    let stopped = Receipt::new(&model, &request, &stopping, &outcome);
    assert!(stopped.is_settled_by_last_pass());
    assert!(stopped.passes() < 21);
    verify(&stopped, &model, 0).unwrap();
}

#[test]
fn a_receipt_of_the_language_model_holds_its_last_row() {
    let entry = vectors::load()["tiny_lm"].clone();
    let model = vectors::model(&entry);
    let request = Request::of_tokens([5; 16], &vectors::ints::<u32>(&entry["tokens"]));
    let options = options(Level::Layer, 8, 2);
    let outcome = predict(&model, &request, options, &mut CpuAnchors).unwrap();
    let receipt = Receipt::new(&model, &request, &options, &outcome);
    let again = Receipt::from_bytes(&receipt.to_bytes()).unwrap();
    assert_eq!(verify(&again, &model, 8).unwrap().outcome, outcome);
}

#[test]
fn the_digits_receipt_is_refused_for_another_model() {
    let entry = vectors::load()["digits_hb32"].clone();
    let digits = vectors::model(&entry);
    let receipt = receipt(&tiny(), options(Level::Pass, 8, 3));
    assert!(matches!(
        verify(&receipt, &digits, 0),
        Err(Refusal::Model { .. })
    ));
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_no_receipt_and_cause_no_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..600), seal: bool, head: bool,
    ) {
        let mut content = bytes;
        if head {
            let known = [RECEIPT_MAGIC.as_slice(), &[1, 0, 1, 0, 0]].concat();
            let n = known.len().min(content.len());
            content[..n].copy_from_slice(&known[..n]);
        }
        let content = if seal { sealed(content) } else { content };
        prop_assert!(Receipt::from_bytes(&content).is_err());
    }

    #[test]
    fn several_changed_bytes_are_refused_after_the_check_sum_was_recomputed(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..6), which in 0usize..6,
    ) {
        let model = tiny();
        let good = receipts(&model).swap_remove(which).to_bytes();
        let mut content = good[..good.len() - 32].to_vec();
        for (at, flip) in changes {
            let at = at.index(content.len());
            content[at] ^= flip;
        }
        // Two changes can cancel each other.
        if content != good[..good.len() - 32] {
            prop_assert!(refusal(&sealed(content), &model).is_some());
        }
    }

    #[test]
    fn any_receipt_comes_back_from_its_bytes(
        model: [u8; 32], nonce: [u8; 16], input in proptest::collection::vec(any::<u8>(), 0..300),
        level in 0u8..3, worked: bool, settled: bool, passes in 1usize..6, classes in 1usize..9,
        noise in proptest::collection::vec(any::<u32>(), 64),
    ) {
        let mut noise = noise.into_iter().cycle();
        let mut next = || noise.next().unwrap();
        let level = Level::from_number(level).unwrap();
        let anchors = match level { Level::Request => 1, Level::Pass => passes, Level::Layer => 3 * passes };
        let receipt = Receipt {
            model: ModelId(Digest(model)),
            request: Request::new(nonce, input),
            level,
            worked,
            settled,
            anchors: (0..anchors).map(|_| Solution { attempt: next(), nonce: Nonce(next()) }).collect(),
            logits: (0..passes).map(|_| (0..classes).map(|_| next().cast_signed()).collect()).collect(),
            mean_p_q16: (0..classes).map(|_| next()).collect(),
            prediction: next() as u16,
            confidence_q16: next(),
            agreeing: next() as u16,
        };
        prop_assert_eq!(Receipt::from_bytes(&receipt.to_bytes()), Ok(receipt));
    }
}
