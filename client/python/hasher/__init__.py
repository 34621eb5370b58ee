"""Hasher Transformers for NumPy and scikit-learn, and a client of the daemon.

A model's weights are 32-byte seeds; everything that it computes, this computer's CPU
computes. A mining device only searches nonces, through :class:`Client`.

>>> from hasher import HasherClassifier
>>> import numpy as np
>>> X = np.array([[0.0, 1.0], [1.0, 0.0]] * 8)
>>> HasherClassifier(steps=50, random_state=1).fit(X, [0, 1] * 8).predict(X[:2])
array([0, 1])
"""

from ._native import Model
from .client import Client
from .estimator import HasherClassifier

__all__ = ["Client", "HasherClassifier", "Model"]
