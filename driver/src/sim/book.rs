//! Known solutions for full difficulty.
//!
//! Owns a table from works to the nonces that solve them at 32 zero bits. No laptop
//! sweeps 2³² nonces within one tick of the work timer, so at 32 zero bits the
//! simulated chips look here instead of hashing. It never invents a solution: every
//! entry is hashed when it is added. Filled from the built-in blocks and from the
//! file of `book=FILE`; read by [`super::sweep`].

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use hasher_work::{Header, Nonce, Work};

use crate::DriverError;

/// Zero bits of the chips' own filter in silicon, and of every entry of a book.
pub const SILICON_ZERO_BITS: u32 = 32;
/// Most bytes a book file may have; 4096 lines of 160 digits with room for comments.
pub const BOOK_BYTES_MAX: u64 = 1 << 20;
/// Most headers one book holds, so that a wrong file is refused early.
pub const BOOK_HEADERS_MAX: usize = 4096;

/// Bitcoin's blocks 0, 1, 2, 170, 100000 and 125552: public, and spread over the
/// chips of both models.
const BLOCKS: [&str; 6] = [
    "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd\
     7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c",
    "010000006fe28c0ab6f1b372c1a6a246ae63f74f931e8365e15a089c68d6190000000000982051fd\
     1e4ba744bbbe680e1fee14677ba1a3c3540bf7b1cdb606e857233e0e61bc6649ffff001d01e36299",
    "010000004860eb18bf1b1620e37e9490fc8a427514416fd75159ab86688e9a8300000000d5fdcc54\
     1e25de1c7a5addedf24858b8bb665c9f36ef744ee42c316022c90f9bb0bc6649ffff001d08d2bd61",
    "0100000055bd840a78798ad0da853f68974f3d183e2bd1db6a842c1feecf222a00000000ff104ccb\
     05421ab93e63f8c3ce5c2c2e9dbb37de2764b3a3175c8166562cac7d51b96a49ffff001d283e9e70",
    "0100000050120119172a610421a6c3011dd330d9df07b63616c2cc1f1cd00200000000006657a925\
     2aacd5c0b2940996ecff952228c3067cc38d4885efb5a4ac4247e9f337221b4d4c86041b0f2b5710",
    "0100000081cd02ab7e569e8bcd9317e2fe99f2de44d49ab2b8851ba4a308000000000000e320b6c2\
     fffc8d750423db8b1eb942ae710e951ed797f7affc8892b0f1fc122bc7f5d74df2b9441a42a14695",
];

/// Works and their known solutions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Book {
    solutions: HashMap<Work, Vec<Nonce>>,
    headers: usize,
}

impl Book {
    /// The built-in blocks: Bitcoin's 0, 1, 2, 170, 100000 and 125552.
    pub fn of_blocks() -> Self {
        let mut book = Self {
            solutions: HashMap::new(),
            headers: 0,
        };
        for text in BLOCKS {
            let header = text.parse().expect("a built-in block is 160 hex digits");
            book.add(&header)
                .expect("a built-in block solves its header");
        }
        book
    }

    /// The built-in blocks and those of a file: one header of 160 hexadecimal digits
    /// a line, nonce included; empty lines and lines that begin with `#` are skipped.
    ///
    /// # Errors
    /// [`DriverError::Io`] when the file cannot be read, [`DriverError::BadSpec`] with
    /// the line for anything that is not a solved header, and for a file beyond
    /// [`BOOK_BYTES_MAX`] or [`BOOK_HEADERS_MAX`].
    pub fn from_file(path: &Path) -> Result<Self, DriverError> {
        let io = |source| DriverError::Io {
            operation: "reading the book of solutions",
            source,
        };
        let mut text = String::new();
        // Bounded while reading: the length that the system tells may be wrong.
        let file = File::open(path).map_err(io)?;
        file.take(BOOK_BYTES_MAX + 1)
            .read_to_string(&mut text)
            .map_err(io)?;
        if text.len() as u64 > BOOK_BYTES_MAX {
            return Err(DriverError::BadSpec(format!(
                "book {} has more than {BOOK_BYTES_MAX} bytes",
                path.display()
            )));
        }
        let mut book = Self::of_blocks();
        book.add_lines(&text)
            .map_err(|why| DriverError::BadSpec(format!("book {}: {why}", path.display())))?;
        Ok(book)
    }

    fn add_lines(&mut self, text: &str) -> Result<(), String> {
        for (i, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let at = i + 1;
            let header: Header = line.parse().map_err(|why| format!("line {at}: {why}"))?;
            self.add(&header)
                .map_err(|why| format!("line {at}: {why}"))?;
        }
        Ok(())
    }

    fn add(&mut self, header: &Header) -> Result<(), String> {
        let zero_bits = header.double_digest().leading_zero_bits();
        if zero_bits < SILICON_ZERO_BITS {
            return Err(format!(
                "the header's digest has {zero_bits} leading zero bits, a chip reports {SILICON_ZERO_BITS} or more"
            ));
        }
        if self.headers == BOOK_HEADERS_MAX {
            return Err(format!("more than {BOOK_HEADERS_MAX} headers"));
        }
        let nonces = self.solutions.entry(header.work()).or_default();
        if !nonces.contains(&header.nonce()) {
            nonces.push(header.nonce());
            self.headers += 1;
        }
        Ok(())
    }

    /// The known nonces of a work, often none.
    pub fn nonces(&self, work: &Work) -> &[Nonce] {
        self.solutions.get(work).map_or(&[], Vec::as_slice)
    }

    /// How many solved headers it holds.
    pub const fn len(&self) -> usize {
        self.headers
    }

    /// Whether it holds none; the built-in blocks are always there.
    pub const fn is_empty(&self) -> bool {
        self.headers == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_blocks_are_those_of_the_vectors() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../../tests/fixtures/bitmain-vectors.json"))
                .unwrap();
        let book = Book::of_blocks();
        assert_eq!(book.len(), 6);
        for block in [0, 1, 2, 170, 100_000, 125_552] {
            let header: Header = vectors["works"]
                .as_array()
                .unwrap()
                .iter()
                .find(|work| {
                    let name = work["name"].as_str().unwrap();
                    name == format!("block {block}") || name.starts_with(&format!("block {block} "))
                })
                .and_then(|work| work["header_hex"].as_str())
                .unwrap()
                .parse()
                .unwrap();
            assert_eq!(book.nonces(&header.work()), [header.nonce()], "{block}");
        }
        assert!(book.nonces(&Header([0; 80]).work()).is_empty());
    }

    #[test]
    fn a_line_that_is_no_solved_header_is_refused_with_its_number() {
        let mut book = Book::of_blocks();
        let genesis = BLOCKS[0];
        assert_eq!(book.add_lines(&format!("# known\n\n {genesis} \n")), Ok(()));
        assert_eq!(book.len(), 6, "a header that is already there adds nothing");
        let unsolved = "11".repeat(80);
        for (text, why) in [
            (format!("{genesis}\nxyz\n"), "line 2: "),
            (unsolved, "line 1: the header's digest has "),
            ("00".repeat(79), "line 1: header must be 80 bytes"),
        ] {
            let error = book.add_lines(&text).unwrap_err();
            assert!(error.starts_with(why), "{error}");
        }
    }

    #[test]
    fn an_endless_book_is_refused() {
        let error = Book::from_file(Path::new("/dev/zero")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "book /dev/zero has more than 1048576 bytes"
        );
    }

    #[test]
    fn a_missing_book_is_an_error_that_says_so() {
        let error = Book::from_file(Path::new("/nonexistent/book")).unwrap_err();
        assert_eq!(error.to_string(), "reading the book of solutions failed");
    }
}
