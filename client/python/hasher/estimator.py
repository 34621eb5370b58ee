"""A classifier of rows of numbers, in the form that scikit-learn expects."""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from . import _native

#: Most columns, and most classes: a code and a label are one byte each.
FEATURES_MAX = 1024
CLASSES_MAX = 256


class HasherClassifier(ClassifierMixin, BaseEstimator):
    """A Hasher Transformer trained on rows of numbers.

    Each column is scaled to 256 codes between its least and largest training value; what
    lies beyond is cut off. Training and inference are deterministic: the same rows,
    parameters and ``random_state`` give the same seeds, byte for byte.

    Parameters
    ----------
    kind : str
        Kind of seed, such as ``hb32``, ``hb16``, ``hb8``, ``tern``, ``nib``.
    width, hidden, layers, heads : int
        Sizes of the network.
    steps, batch : int
        Optimiser steps, and rows a step.
    passes : int
        Passes that are averaged in a prediction, 1 to 255.
    random_state : int, RandomState or None
        Start of every random choice of training.

    Attributes
    ----------
    classes_ : array
        The labels.
    model_ : hasher.Model
        The trained model; ``model_.to_bytes()`` is a model file.
    low_, high_ : arrays
        Least and largest training value of each column.
    """

    def __init__(
        self,
        *,
        kind="hb16",
        width=32,
        hidden=64,
        layers=1,
        heads=2,
        steps=300,
        batch=32,
        passes=21,
        random_state=None,
    ):
        self.kind = kind
        self.width = width
        self.hidden = hidden
        self.layers = layers
        self.heads = heads
        self.steps = steps
        self.batch = batch
        self.passes = passes
        self.random_state = random_state

    def fit(self, X, y):
        """Train on the rows of ``X`` with the labels ``y``."""
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if not 2 <= len(self.classes_) <= CLASSES_MAX:
            count = len(self.classes_)
            noun = "class" if count == 1 else "classes"
            raise ValueError(f"2 to {CLASSES_MAX} classes are needed, got {count} {noun}")
        if X.shape[1] > FEATURES_MAX:
            raise ValueError(f"at most {FEATURES_MAX} features are taken, got {X.shape[1]}")
        self.low_, self.high_ = X.min(axis=0), X.max(axis=0)
        rng_seed = check_random_state(self.random_state).randint(2**31 - 1)
        self.model_ = _native.train(
            self._codes(X).tobytes(),
            labels.astype(np.uint8).tobytes(),
            positions=1,
            inputs=X.shape[1],
            classes=len(self.classes_),
            kind=self.kind,
            width=self.width,
            hidden=self.hidden,
            layers=self.layers,
            heads=self.heads,
            steps=self.steps,
            batch=self.batch,
            rng_seed=int(rng_seed),
        )
        return self

    def predict_proba(self, X):
        """Mean probability of every class over the passes, one row each."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        rows = self.model_.probabilities(self._codes(X).tobytes(), self.passes)
        return np.frombuffer(rows, dtype="<f8").reshape(len(X), len(self.classes_)).copy()

    def predict(self, X):
        """The most probable class of each row."""
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(axis=1)]

    def _codes(self, X):
        # Halves keep the span of the largest numbers finite.
        span = self.high_ / 2 - self.low_ / 2
        known = span > 0
        share = np.zeros_like(X)
        clipped = np.clip(X, self.low_, self.high_)
        np.divide(clipped / 2 - self.low_ / 2, span, out=share, where=known)
        return np.floor(share * 255 + 0.5).astype(np.uint8)
