"""The handwritten digits, step by step, as in a notebook.

Run it with ``python examples/digits.py``; it needs nothing but the package.
"""

# %% Data: scikit-learn's own digits, split at random.
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)

# %% Train. Every weight is in a 32-byte seed.
from hasher import HasherClassifier

classifier = HasherClassifier(kind="hb16", width=64, hidden=128, steps=400, random_state=0)
classifier.fit(X_train, y_train)
print(f"{classifier.model_.seed_bytes} bytes of seeds, model {classifier.model_.id[:12]}")

# %% Measure, and look at what the model is unsure of.
accuracy = classifier.score(X_test, y_test)
confidence = classifier.predict_proba(X_test).max(axis=1)
print(f"{accuracy:.1%} of {len(y_test)} test images, mean confidence {confidence.mean():.1%}")
sure = confidence >= 0.9
right = classifier.predict(X_test[sure]) == y_test[sure]
print(f"{sure.mean():.1%} are answered with confidence 0.9 or more, {right.mean():.1%} rightly")

# %% The model file is the same bytes that `hasher inspect` and `hasher export` read.
from hasher import Model

assert Model(classifier.model_.to_bytes()).id == classifier.model_.id
assert accuracy > 0.9, "this network learns the digits"
