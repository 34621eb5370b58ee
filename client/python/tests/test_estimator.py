"""The estimator keeps scikit-learn's promises, and its own."""

import pickle
import unittest

import numpy as np
from sklearn.datasets import load_iris
from sklearn.utils.estimator_checks import check_estimator

from hasher import HasherClassifier, Model

#: Checks of scikit-learn that are expected to fail, each with its reason.
EXPECTED_FAILURES = {}


class EstimatorTest(unittest.TestCase):
    def test_scikit_learns_checks_pass(self):
        results = check_estimator(
            HasherClassifier(steps=150),
            expected_failed_checks=EXPECTED_FAILURES,
            on_fail=None,
        )
        failed = [
            f"{result['check_name']}: {result['exception']}"
            for result in results
            if result["status"] == "failed"
        ]
        self.assertEqual(failed, [])
        # An expected failure that passes is no longer one.
        xfailed = {r["check_name"] for r in results if r["status"] == "xfail"}
        self.assertEqual(xfailed, set(EXPECTED_FAILURES))

    def test_the_same_seed_gives_the_same_bytes_and_another_does_not(self):
        X, y = load_iris(return_X_y=True)
        train = lambda seed: HasherClassifier(steps=20, random_state=seed).fit(X, y).model_
        self.assertEqual(train(1).to_bytes(), train(1).to_bytes())
        self.assertNotEqual(train(1).id, train(2).id)

    def test_most_of_iris_is_learned(self):
        X, y = load_iris(return_X_y=True)
        kept = np.arange(len(X)) % 3 == 0
        classifier = HasherClassifier(random_state=0).fit(X[~kept], y[~kept])
        self.assertGreaterEqual(classifier.score(X[kept], y[kept]), 0.9)
        rows = classifier.predict_proba(X[kept])
        np.testing.assert_allclose(rows.sum(axis=1), 1.0)

    def test_a_model_is_its_bytes(self):
        X, y = load_iris(return_X_y=True)
        model = HasherClassifier(steps=20, random_state=0).fit(X, y).model_
        for again in (Model(model.to_bytes()), pickle.loads(pickle.dumps(model))):
            self.assertEqual(again.id, model.id)
        damaged = bytearray(model.to_bytes())
        damaged[-1] ^= 1
        with self.assertRaisesRegex(ValueError, "CRC"):
            Model(bytes(damaged))

    def test_wrong_parameters_are_named(self):
        X, y = load_iris(return_X_y=True)
        for wrong, text in [
            ({"kind": "hb99"}, "hb99"),
            ({"steps": 0}, "steps is 0"),
            ({"heads": 3}, "heads"),
            ({"passes": 0}, "passes must be 1 to 255"),
        ]:
            with self.assertRaisesRegex(ValueError, text):
                HasherClassifier(**{"steps": 2, **wrong}).fit(X, y).predict(X[:1])


if __name__ == "__main__":
    unittest.main()
