//! The layers of the training network: small structs with a forward and a
//! hand-written backward over row-major slices.
//!
//! A *row* is one position of one example. Layers own no parameters and no
//! memory: they borrow decoded weights and write where they are told. Backward
//! functions **add** to every gradient they are given, so a residual path is
//! one buffer that several layers add to. Nothing here knows about seeds.

pub(crate) mod activation;
pub(crate) mod attention;
pub(crate) mod block;
pub(crate) mod gelu;
pub(crate) mod linear;
pub(crate) mod loss;
pub(crate) mod norm;
pub(crate) mod readout;
