//! SHA-256's constants, and the pieces of its schedule on single words.

/// Round constants (FIPS 180-4, 4.2.2).
pub(crate) const K: [u32; 64] = [
    0x428a_2f98,
    0x7137_4491,
    0xb5c0_fbcf,
    0xe9b5_dba5,
    0x3956_c25b,
    0x59f1_11f1,
    0x923f_82a4,
    0xab1c_5ed5,
    0xd807_aa98,
    0x1283_5b01,
    0x2431_85be,
    0x550c_7dc3,
    0x72be_5d74,
    0x80de_b1fe,
    0x9bdc_06a7,
    0xc19b_f174,
    0xe49b_69c1,
    0xefbe_4786,
    0x0fc1_9dc6,
    0x240c_a1cc,
    0x2de9_2c6f,
    0x4a74_84aa,
    0x5cb0_a9dc,
    0x76f9_88da,
    0x983e_5152,
    0xa831_c66d,
    0xb003_27c8,
    0xbf59_7fc7,
    0xc6e0_0bf3,
    0xd5a7_9147,
    0x06ca_6351,
    0x1429_2967,
    0x27b7_0a85,
    0x2e1b_2138,
    0x4d2c_6dfc,
    0x5338_0d13,
    0x650a_7354,
    0x766a_0abb,
    0x81c2_c92e,
    0x9272_2c85,
    0xa2bf_e8a1,
    0xa81a_664b,
    0xc24b_8b70,
    0xc76c_51a3,
    0xd192_e819,
    0xd699_0624,
    0xf40e_3585,
    0x106a_a070,
    0x19a4_c116,
    0x1e37_6c08,
    0x2748_774c,
    0x34b0_bcb5,
    0x391c_0cb3,
    0x4ed8_aa4a,
    0x5b9c_ca4f,
    0x682e_6ff3,
    0x748f_82ee,
    0x78a5_636f,
    0x84c8_7814,
    0x8cc7_0208,
    0x90be_fffa,
    0xa450_6ceb,
    0xbef9_a3f7,
    0xc671_78f2,
];

/// Padding marker of a message that ends at a word's edge.
pub(crate) const MARKER: u32 = 1 << 31;
/// Last word of the second block of an 80-byte header: its length in bits.
pub(crate) const HEADER_BITS: u32 = 640;
/// Last word of the only block of a 32-byte message: its length in bits.
pub(crate) const DIGEST_BITS: u32 = 256;

/// σ0 of the message schedule.
pub(crate) const fn small_sigma0(x: u32) -> u32 {
    x.rotate_right(7) ^ x.rotate_right(18) ^ (x >> 3)
}

/// σ1 of the message schedule.
pub(crate) const fn small_sigma1(x: u32) -> u32 {
    x.rotate_right(17) ^ x.rotate_right(19) ^ (x >> 10)
}

/// One round on the state words a to h.
pub(crate) const fn round(state: [u32; 8], word_and_constant: u32) -> [u32; 8] {
    let [a, b, c, d, e, f, g, h] = state;
    let sigma1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
    let t1 = h
        .wrapping_add(sigma1)
        .wrapping_add((e & f) ^ (!e & g))
        .wrapping_add(word_and_constant);
    let sigma0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
    let t2 = sigma0.wrapping_add((a & b) ^ (a & c) ^ (b & c));
    [t1.wrapping_add(t2), a, b, c, d.wrapping_add(t1), e, f, g]
}

/// Blocks of a padded message of so many bytes.
pub(crate) const fn blocks(length: usize) -> usize {
    (length + 8) / 64 + 1
}

/// Block number `number` (below [`blocks`]) of a padded message: of the message
/// itself while it lasts, else written into `padded`.
pub(crate) fn block<'a>(
    message: &'a [u8],
    number: usize,
    padded: &'a mut [u8; 64],
) -> &'a [u8; 64] {
    let (whole, rest) = message.as_chunks::<64>();
    if let Some(block) = whole.get(number) {
        return block;
    }
    padded.fill(0);
    if number == whole.len() {
        padded[..rest.len()].copy_from_slice(rest);
        padded[rest.len()] = 0x80;
    }
    if number + 1 == blocks(message.len()) {
        padded[56..].copy_from_slice(&(8 * message.len() as u64).to_be_bytes());
    }
    padded
}
