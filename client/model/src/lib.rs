//! The Hasher Transformer: seeds, exact integer inference, receipts; no I/O, no threads.
