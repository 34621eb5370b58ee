//! The native half of the Python package `hasher`: bytes in, bytes out.
//!
//! Owns the conversion between Python's values and those of the Rust crates. Shapes,
//! scaling and everything that scikit-learn expects are the Python half's
//! (`hasher/estimator.py`). Long calls let other Python threads run.

use std::path::PathBuf;

use hasher_client::{ClientBuilder, ClientError, SearchAnswer, blocking};
use hasher_model::{DirectAnchors, Options, PASSES_MAX, Request, predict};
use hasher_train::data::{DataShape, Dataset};
use hasher_train::{Kinds, TrainConfig, Trainer};
use hasher_wire::DigestAlgorithm;
use hasher_work::{Header, NonceRange, SearchEnd, SearchJob, SearchMode, Target};
use pyo3::exceptions::{PyConnectionError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

#[pymodule]
mod _native {
    #[pymodule_export]
    use super::{Client, Model, train};
}

/// An error and its sources as one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}

fn value_error(error: impl std::error::Error) -> PyErr {
    PyValueError::new_err(chain(&error))
}

/// A model of the Hasher Transformer, from the bytes of a model file.
#[pyclass(frozen, module = "hasher._native")]
struct Model(hasher_model::Model);

#[pymethods]
impl Model {
    #[new]
    fn new(data: &[u8]) -> PyResult<Self> {
        let model = hasher_model::Model::from_bytes(data).map_err(value_error)?;
        Ok(Self(model))
    }

    /// For pickle: the bytes of the model file are all there is.
    fn __getnewargs__<'py>(&self, py: Python<'py>) -> (Bound<'py, PyBytes>,) {
        (self.to_bytes(py),)
    }

    /// The bytes of the model file.
    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.to_bytes())
    }

    /// Identity of the model: a digest of its sizes and seeds, in hexadecimal.
    #[getter]
    fn id(&self) -> String {
        self.0.id().to_string()
    }

    /// Bytes of all seeds.
    #[getter]
    fn seed_bytes(&self) -> usize {
        self.0.weight_bytes()
    }

    /// Mean probabilities over `passes` (1 to 255) of every example, as float64 in rows of
    /// classes. `codes` holds the examples' input codes, one after the other. An answer
    /// depends on its own input only, never on its neighbours.
    fn probabilities<'py>(
        &self,
        py: Python<'py>,
        codes: &[u8],
        passes: u16,
    ) -> PyResult<Bound<'py, PyBytes>> {
        if !(1..=PASSES_MAX).contains(&passes) {
            return Err(PyValueError::new_err(format!(
                "passes must be 1 to {PASSES_MAX}, got {passes}"
            )));
        }
        let size = self.0.config().input_bytes_max();
        if !codes.len().is_multiple_of(size) {
            return Err(PyValueError::new_err(format!(
                "{} codes are no whole number of examples of {size}",
                codes.len()
            )));
        }
        let bytes = py.detach(|| self.rows(codes.chunks_exact(size), passes))?;
        Ok(PyBytes::new(py, &bytes))
    }
}

impl Model {
    fn rows<'a>(&self, examples: impl Iterator<Item = &'a [u8]>, passes: u16) -> PyResult<Vec<u8>> {
        let options = Options {
            passes,
            ..Options::default()
        };
        let mut bytes = Vec::new();
        for codes in examples {
            let request = Request::new([0; 16], codes.to_vec());
            let outcome =
                predict(&self.0, &request, options, &mut DirectAnchors).map_err(value_error)?;
            let q16 = outcome.ensemble.mean_p_q16();
            // Rounded down in Q16, they sum to a little less than one.
            let sum = f64::from(q16.iter().sum::<u32>().max(1));
            bytes.extend(q16.iter().flat_map(|p| (f64::from(*p) / sum).to_le_bytes()));
        }
        Ok(bytes)
    }
}

/// Trains a classifier. `codes` holds the examples' input codes (`positions` × `inputs`
/// each, real value code / 256), `labels` one class number each. The same arguments give
/// the same model on every machine.
#[pyfunction]
#[pyo3(signature = (codes, labels, *, positions, inputs, classes, kind, width, hidden, layers,
    heads, steps, batch, rng_seed))]
#[expect(
    clippy::too_many_arguments,
    reason = "keyword arguments of a Python function"
)]
fn train(
    py: Python<'_>,
    codes: &[u8],
    labels: &[u8],
    positions: usize,
    inputs: usize,
    classes: usize,
    kind: &str,
    width: u32,
    hidden: u32,
    layers: u32,
    heads: u32,
    steps: u32,
    batch: u32,
    rng_seed: u64,
) -> PyResult<Model> {
    let kinds: Kinds = kind.parse().map_err(value_error)?;
    let config = TrainConfig {
        kinds,
        width,
        hidden,
        layers,
        heads,
        steps,
        batch,
        rng_seed,
        ..TrainConfig::default()
    };
    let shape = DataShape {
        positions,
        inputs,
        input_fraction: 8,
        classes,
    };
    let all = (0..labels.len()).collect();
    let data = Dataset::new(shape, codes.to_vec(), labels.to_vec(), all, Vec::new())
        .map_err(value_error)?;
    let mut trainer = Trainer::new(config, &data).map_err(value_error)?;
    while !trainer.is_finished() {
        py.detach(|| trainer.step()).map_err(value_error)?;
        // Ctrl-C ends a training.
        py.check_signals()?;
    }
    Ok(Model(trainer.model().map_err(value_error)?))
}

/// A connection to the daemon. Without `socket` the user's own daemon, then the system's.
#[pyclass(frozen, module = "hasher._native")]
struct Client(blocking::Client);

#[pymethods]
impl Client {
    #[new]
    #[pyo3(signature = (socket=None))]
    fn new(py: Python<'_>, socket: Option<PathBuf>) -> PyResult<Self> {
        let mut builder = ClientBuilder::default().name("python");
        if let Some(socket) = socket {
            builder = builder.socket(&socket);
        }
        let client = py.detach(|| builder.connect_blocking());
        Ok(Self(client.map_err(client_error)?))
    }

    /// Searches nonces of an 80-byte header whose double digest has so many leading zero
    /// bits. A dictionary: `hits` (nonce, time, digest), `end`, `certain_nonces`, `works`,
    /// `computed_by`. No hit is no failure: about four in ten works of a board answer
    /// nothing. `rolls` allows so many further time fields.
    #[pyo3(signature = (header, *, zero_bits=32, count=1, rolls=0))]
    fn search<'py>(
        &self,
        py: Python<'py>,
        header: [u8; 80],
        zero_bits: u32,
        count: u16,
        rolls: u16,
    ) -> PyResult<Bound<'py, PyDict>> {
        let job = SearchJob {
            header: Header(header),
            range: NonceRange::WHOLE,
            target: Target::from_zero_bits(zero_bits).map_err(value_error)?,
            mode: SearchMode::FirstFound(count),
            rolls,
        };
        job.check().map_err(value_error)?;
        let answer = py.detach(|| self.0.search(job)).map_err(client_error)?;
        told(py, &answer)
    }

    /// SHA-256 of a message, computed by the daemon's CPU; a device cannot.
    fn digest<'py>(&self, py: Python<'py>, message: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        let answer = py.detach(|| self.0.digest(DigestAlgorithm::Sha256, message));
        let answer = answer.map_err(client_error)?;
        let digest = answer
            .digests
            .first()
            .ok_or_else(|| PyRuntimeError::new_err("the daemon answered no digest"))?;
        Ok(PyBytes::new(py, &digest.0))
    }

    /// The daemon's status as a JSON text.
    fn status_json(&self, py: Python<'_>) -> PyResult<String> {
        let status = py.detach(|| self.0.status()).map_err(client_error)?;
        serde_json::to_string(&status).map_err(|error| PyRuntimeError::new_err(chain(&error)))
    }
}

fn told<'py>(py: Python<'py>, answer: &SearchAnswer) -> PyResult<Bound<'py, PyDict>> {
    let hits = answer.result.hits.iter().map(|hit| {
        let told = PyDict::new(py);
        told.set_item("nonce", hit.nonce.0)?;
        told.set_item("time", hit.time)?;
        told.set_item("digest", PyBytes::new(py, &hit.digest.0))?;
        Ok(told)
    });
    let told = PyDict::new(py);
    told.set_item("hits", hits.collect::<PyResult<Vec<_>>>()?)?;
    told.set_item(
        "end",
        match answer.result.end {
            SearchEnd::Found => "found",
            SearchEnd::Exhausted => "exhausted",
            SearchEnd::TimerEnded => "timer-ended",
            SearchEnd::HitLimit => "hit-limit",
            _ => "other",
        },
    )?;
    told.set_item("certain_nonces", answer.result.certain_nonces)?;
    told.set_item("works", answer.result.works)?;
    let by: Vec<String> = answer.by.iter().map(ToString::to_string).collect();
    told.set_item("computed_by", by)?;
    Ok(told)
}

/// `ConnectionError` when no daemon answers, `ValueError` for a job that cannot be, else
/// `RuntimeError`; with the remedy where one is known.
fn client_error(error: ClientError) -> PyErr {
    let mut text = chain(&error);
    if let Some(hint) = error.hint() {
        text.push_str(&format!("; {hint}"));
    }
    match error {
        ClientError::Unreachable { .. }
        | ClientError::Refused { .. }
        | ClientError::Closed { .. } => PyConnectionError::new_err(text),
        ClientError::BadJob(_) => PyValueError::new_err(text),
        _ => PyRuntimeError::new_err(text),
    }
}
