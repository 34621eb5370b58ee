use super::*;
use crate::{AnchorPoint, AnchorRequest, Level, Mode, Solution, vectors};

#[test]
fn every_step_of_the_published_trace_is_met() {
    let entry = vectors::load()["tiny"].clone();
    let model = vectors::model(&entry);
    let request = Request::new(
        vectors::bytes_of(&entry["request_nonce"]),
        vectors::ints(&entry["input"]),
    );
    assert_eq!(request.id().to_hex(), entry["request_id"].as_str().unwrap());
    let point = AnchorPoint {
        pass: Some(0),
        layer: None,
        state: Digest([0; 32]),
    };
    let anchor = AnchorRequest::new(model.id(), &request.id(), Level::Pass, point, Mode::Direct)
        .check(Solution::DIRECT)
        .unwrap();
    let passes = [(0, anchor)];
    let mut stage = Stage {
        layer: 0,
        passes: &passes,
    };
    let mut forward = Forward::new(&model);
    let mut trace = entry["trace_pass0"].as_array().unwrap().iter();
    let mut next = || trace.next().unwrap();
    // The tiny model is 32 wide and 32 in its hidden layer: no padding anywhere.
    let check_codes = |forward: &Forward<'_>, step: &serde_json::Value| {
        // Signed codes are stored as odd numbers −15 … 15, unsigned ones as 0 … 15.
        let signed = step["site"] != 3;
        let codes: Vec<i16> = forward
            .scratch
            .codes
            .iter()
            .map(|code| if signed { (code + 15) / 2 } else { *code })
            .collect();
        assert_eq!(codes, vectors::ints::<i16>(&step["c"]), "{}", step["site"]);
        // Scratch holds the nearest codes of the last position.
        let nearest: Vec<u8> = vectors::ints(&step["c0"]);
        assert!(nearest.ends_with(forward.scratch.activation.nearest()));
    };

    let mut residual = forward.embed(&request);
    assert_eq!(residual, vectors::ints::<i32>(&next()["h0"]));
    let layer = &model.network.layers[0];
    forward.quantise_normed(stage, 0, &layer.attention_gains, &residual);
    check_codes(&forward, next());
    forward.project(0);
    forward.attend();
    let step = next();
    // Heads come first in the trace, positions first in our rows.
    let by_head = |rows: &[i32]| -> Vec<i32> {
        (0..2)
            .flat_map(|head| {
                rows.chunks_exact(32)
                    .flat_map(move |row| &row[16 * head..][..16])
            })
            .copied()
            .collect()
    };
    assert_eq!(
        by_head(&forward.scratch.query),
        vectors::ints::<i32>(&step["q"])
    );
    assert_eq!(
        by_head(&forward.scratch.key),
        vectors::ints::<i32>(&step["k"])
    );
    assert_eq!(
        by_head(&forward.scratch.value),
        vectors::ints::<i32>(&step["v"])
    );
    assert_eq!(forward.scratch.mixed, vectors::ints::<i32>(&step["o"]));
    forward.quantise_mixed(stage);
    check_codes(&forward, next());
    forward.add_product(&layer.output, 3, &mut residual);
    forward.quantise_normed(stage, 2, &layer.feed_gains, &residual);
    check_codes(&forward, next());
    forward.expand(stage);
    check_codes(&forward, next());
    forward.add_product(&layer.contract, 3, &mut residual);
    assert_eq!(residual, vectors::ints::<i32>(&next()["h"]));

    // The same steps, taken at once.
    let mut again = forward.embed(&request);
    forward.layer(stage, &mut again);
    assert_eq!(again, residual);
    stage.layer = 1;
    let pooled = forward.pool(residual);
    let logits = forward.head(stage, &pooled);
    check_codes(&forward, next());
    assert_eq!(logits, vectors::ints::<i32>(&entry["logits_q16_level1"][0]));
}
