use super::*;
use crate::vectors;

struct Published {
    model: ModelId,
    request: Digest,
    vectors: serde_json::Value,
}

fn published() -> Published {
    let vectors = vectors::load();
    Published {
        model: ModelId(Digest(vectors::bytes_of(
            &vectors["anchor_direct"]["model"],
        ))),
        request: Digest(vectors::bytes_of(&vectors["request"]["request_id"])),
        vectors,
    }
}

const PASS_4: AnchorPoint = AnchorPoint {
    pass: Some(4),
    layer: None,
    state: Digest([0; 32]),
};

#[test]
fn direct_anchors_match_the_vectors() {
    let published = published();
    let new = |level, point| {
        AnchorRequest::new(
            published.model,
            &published.request,
            level,
            point,
            Mode::Direct,
        )
    };
    let entry = &published.vectors["anchor_direct"];
    let anchor = new(Level::Pass, PASS_4);
    assert_eq!(anchor.header.to_string(), entry["header"].as_str().unwrap());
    assert_eq!(
        anchor.check(Solution::DIRECT).unwrap().to_hex(),
        entry["digest"].as_str().unwrap()
    );
    let entry = &published.vectors["anchor_level2"];
    let point = AnchorPoint {
        layer: Some(entry["layer"].as_u64().unwrap() as u16),
        state: Digest(vectors::bytes_of(&entry["state"])),
        ..PASS_4
    };
    let anchor = new(Level::Layer, point);
    assert_eq!(anchor.header.to_string(), entry["header"].as_str().unwrap());
    assert_eq!(
        anchor.check(Solution::DIRECT).unwrap().to_hex(),
        entry["digest"].as_str().unwrap()
    );
}

#[test]
fn the_solved_anchor_of_the_vectors_counts_up_to_its_zero_bits() {
    let published = published();
    let entry = &published.vectors["anchor_work"];
    let solution = Solution {
        attempt: entry["attempt"].as_u64().unwrap() as u32,
        nonce: Nonce(entry["nonce"].as_u64().unwrap() as u32),
    };
    let check = |zero_bits, solution| {
        let mode = Mode::Work { zero_bits };
        AnchorRequest::new(
            published.model,
            &published.request,
            Level::Pass,
            PASS_4,
            mode,
        )
        .check(solution)
    };
    let digest = check(20, solution).unwrap();
    assert_eq!(digest.to_hex(), entry["digest"].as_str().unwrap());
    let got = digest.leading_zero_bits();
    assert_eq!(
        check(got + 1, solution),
        Err(AnchorError::ZeroBits {
            got,
            wanted: got + 1
        })
    );
    assert_eq!(check(8, Solution::DIRECT), Err(AnchorError::Unworked));
}

#[test]
fn the_genesis_block_has_the_zero_bits_of_silicon() {
    let published = published();
    let entry = &published.vectors["bitcoin_genesis_check"];
    let header: Header = entry["header"].as_str().unwrap().parse().unwrap();
    let digest = header.double_digest();
    assert_eq!(digest.to_hex(), entry["digest"].as_str().unwrap());
    assert_eq!(
        digest.leading_zero_bits() >= ZERO_BITS_MAX,
        entry["top32_zero"].as_bool().unwrap()
    );
}

#[test]
fn work_mode_avoids_midstates_that_an_s3_drops() {
    let published = published();
    let mut avoided = 0;
    for pass in 0..2000 {
        let new = |mode| {
            let point = AnchorPoint {
                pass: Some(pass),
                ..PASS_4
            };
            AnchorRequest::new(
                published.model,
                &published.request,
                Level::Pass,
                point,
                mode,
            )
        };
        let (direct, work) = (new(Mode::Direct), new(Mode::Work { zero_bits: 8 }));
        assert!(!work.header.work().midstate.is_dropped_by_s3());
        if direct.header.work().midstate.is_dropped_by_s3() {
            avoided += 1;
            assert_eq!(
                work.header.0[36..68],
                commitment(&published.request, Level::Pass, &work.point, u32::MAX - 1).0
            );
        } else {
            assert_eq!(direct.header, work.header);
        }
    }
    // 2000/256 on average; these inputs are fixed.
    assert!((1..30).contains(&avoided), "{avoided}");
}

#[test]
fn a_search_of_the_job_solves_the_anchor() {
    let published = published();
    let mode = Mode::Work { zero_bits: 10 };
    let anchor = AnchorRequest::new(
        published.model,
        &published.request,
        Level::Pass,
        PASS_4,
        mode,
    );
    let job = anchor.search_job(4);
    job.check().unwrap();
    assert!(!job.range.contains(Nonce(0)));
    let mut solution = Solution::DIRECT;
    hasher_kernel::scan(
        &job.header.work(),
        job.range.first().0,
        job.range.count(),
        hasher_kernel::ScanOrder::Header,
        &job.target,
        |nonce, _| {
            solution.nonce = nonce;
            false
        },
    );
    assert!(anchor.check(solution).unwrap().leading_zero_bits() >= 10);
}

#[test]
fn direct_mode_takes_no_nonce() {
    let published = published();
    let anchor = AnchorRequest::new(
        published.model,
        &published.request,
        Level::Pass,
        PASS_4,
        Mode::Direct,
    );
    let other = Solution {
        attempt: 0,
        nonce: Nonce(1),
    };
    assert_eq!(
        anchor.check(other).unwrap_err().to_string(),
        "direct mode takes attempt 0 and nonce 0, got 0 and 0x00000001"
    );
}
