//! The Merkle tree over a model's seeds, and proofs that one seed belongs to it.
//!
//! Leaves are `H(0x00 ‖ seed)`, nodes `H(0x01 ‖ left ‖ right)`; an odd last node
//! is carried up unchanged.

use hasher_work::{Digest, digest};

use crate::Seed;

/// Root over all seeds of a model; nothing for no seeds.
pub fn merkle_root(seeds: &[Seed]) -> Option<Digest> {
    let mut level: Vec<Digest> = seeds.iter().map(leaf).collect();
    while level.len() > 1 {
        level = parents(&level);
    }
    level.pop()
}

/// Shows that one seed is leaf `index` of a tree with `leaves` leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MerkleProof {
    /// Number of the seed in the file.
    pub index: usize,
    /// Seeds in the file.
    pub leaves: usize,
    /// Neighbours from the leaf upwards, leaving out levels without one.
    pub siblings: Vec<Digest>,
}

impl MerkleProof {
    /// The proof for seed number `index`; nothing when there is no such seed.
    pub fn new(seeds: &[Seed], index: usize) -> Option<Self> {
        if index >= seeds.len() {
            return None;
        }
        let mut level: Vec<Digest> = seeds.iter().map(leaf).collect();
        let mut siblings = Vec::new();
        let mut at = index;
        while level.len() > 1 {
            siblings.extend(level.get(at ^ 1));
            level = parents(&level);
            at /= 2;
        }
        Some(Self {
            index,
            leaves: seeds.len(),
            siblings,
        })
    }

    /// The root that `seed` leads to; nothing when the proof has the wrong number
    /// of siblings. Compare it with the root of the model.
    pub fn root(&self, seed: &Seed) -> Option<Digest> {
        if self.index >= self.leaves {
            return None;
        }
        let (mut at, mut width) = (self.index, self.leaves);
        let mut siblings = self.siblings.iter();
        let mut hash = leaf(seed);
        while width > 1 {
            if at ^ 1 < width {
                let sibling = siblings.next()?;
                hash = if at % 2 == 0 {
                    node(&hash, sibling)
                } else {
                    node(sibling, &hash)
                };
            }
            at /= 2;
            width = width.div_ceil(2);
        }
        siblings.next().is_none().then_some(hash)
    }
}

fn parents(level: &[Digest]) -> Vec<Digest> {
    level
        .chunks(2)
        .map(|pair| match pair {
            [left, right] => node(left, right),
            [odd] => *odd,
            _ => unreachable!("chunks of two hold one or two"),
        })
        .collect()
}

fn leaf(seed: &Seed) -> Digest {
    let mut message = [0; 33];
    message[1..].copy_from_slice(&seed.0);
    digest(&message)
}

fn node(left: &Digest, right: &Digest) -> Digest {
    let mut message = [1; 65];
    message[1..33].copy_from_slice(&left.0);
    message[33..].copy_from_slice(&right.0);
    digest(&message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_leads_to_the_root_for_its_own_seed_only() {
        for count in 1..=17u8 {
            let seeds: Vec<Seed> = (0..count).map(|i| Seed([i; 32])).collect();
            let root = merkle_root(&seeds);
            for index in 0..seeds.len() {
                let proof = MerkleProof::new(&seeds, index).unwrap();
                assert_eq!(proof.root(&seeds[index]), root);
                assert_ne!(proof.root(&Seed([99; 32])), root);
                let elsewhere = MerkleProof {
                    index: (index + 1) % seeds.len(),
                    ..proof.clone()
                };
                if count > 1 {
                    assert_ne!(elsewhere.root(&seeds[index]), root);
                }
                let mut longer = proof.clone();
                longer.siblings.push(Digest([0; 32]));
                assert_eq!(longer.root(&seeds[index]), None);
                let mut shorter = proof;
                if shorter.siblings.pop().is_some() {
                    assert_eq!(shorter.root(&seeds[index]), None);
                }
            }
            assert_eq!(MerkleProof::new(&seeds, seeds.len()), None);
        }
        assert_eq!(merkle_root(&[]), None);
    }
}
