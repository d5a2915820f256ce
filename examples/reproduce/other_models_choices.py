"""Ten ways to make a set for other models, compared on training rows only.

    python examples/reproduce/other_models_choices.py --data DIR

Generated tables, digits and rows of Fashion-MNIST (30 principal components) are reduced to 1 % and
5 %. The script prints the gain of six models over k-means centres, in points, on rows that nothing
was learned from. "Chosen" is the stage of a run that `KIPDistiller(downstream="auto")` would
return.
"""

import warnings

import numpy as np
import optax
from _common import load, parser, provenance
from downstream import MODELS
from sklearn.base import clone
from sklearn.datasets import make_blobs, make_classification, make_gaussian_quantiles, make_moons
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import has_fit_parameter

from kipsk import KIPDistiller
from kipsk._kip._stages import STAGES, best_stage, models_of

SETS = {  # with the number of rows to reduce; all others are to test on
    "classification": (lambda: make_classification(6000, 20, n_informative=8, n_classes=3), 2000),
    "two classes": (lambda: make_classification(4300, 10, n_informative=5), 300),
    "blobs": (lambda: make_blobs(4150, 4, centers=3, cluster_std=5), 150),
    "quantiles": (lambda: make_gaussian_quantiles(n_samples=5000, n_features=6, n_classes=3), 1000),
    "moons": (lambda: make_moons(4400, noise=0.25), 400),
}
SHARES = (0.01, 0.05)
RATE, STEPS = 0.08, 300
FAMILY = ["fc1", "rbf", "laplace"]


def held_near(hold):
    """Return Adam whose every step ends with `hold(new, start)`."""
    adam = optax.adam(optax.cosine_decay_schedule(RATE, STEPS))

    def init(params):
        return adam.init(params), params

    def update(updates, state, params):
        updates, inner = adam.update(updates, state[0], params)
        held = {k: hold(params[k] + updates[k], state[1][k]) - params[k] for k in params}
        return held, (inner, state[1])

    return optax.GradientTransformation(init, update)


PULLED = held_near(lambda new, start: new - RATE * (new - start))
BOXED = held_near(
    lambda new, start: optax.projections.projection_box(new, start - 0.2, start + 0.2)
)
RUNS = {
    "learned labels": {},
    "fixed labels": {"labels": "fixed"},
    "fixed labels, ridge of 0.1": {"labels": "fixed", "reg": 0.1},
    "fixed labels, pulled to the start": {"labels": "fixed", "optimizer": PULLED},
    "fixed labels, within 0.2 of the start": {"labels": "fixed", "optimizer": BOXED},
    "fixed labels, RBF": {"labels": "fixed", "kernel": "rbf"},
    "fixed labels, three kernels": {"labels": "fixed", "kernel": FAMILY},
    "fixed labels, four kernels": {"labels": "fixed", "kernel": [*FAMILY, "fc3"]},
}


def standardised(X, y, n_rows):
    X, X_test, y, y_test = train_test_split(X, y, train_size=n_rows, random_state=0, stratify=y)
    scaler = StandardScaler().fit(X)
    return scaler.transform(X), scaler.transform(X_test), y, y_test


def sets_of(folder):
    """Yield names and X, X_test, y, y_test."""
    for name, (make, n_rows) in SETS.items():
        np.random.seed(0)  # the generators draw from it
        yield name, standardised(*make(), n_rows)
    X, _, y, _ = load("digits", held_out=400)
    yield "digits", standardised(X, y, 800)
    if folder is not None:
        X, _, y, _ = load("fashion_mnist", folder)
        X = PCA(30, random_state=0).fit_transform(X[:7000])
        yield "Fashion-MNIST", standardised(X, y[:7000], 3000)


def accuracies(X_s, y_s, X_test, y_test, weights=None):
    """Return the accuracy of every model, trained with weights where it takes them."""
    found = []
    for model in MODELS.values():
        model = clone(model)
        if weights is None:
            model.fit(X_s, y_s)
        elif has_fit_parameter(model, "sample_weight"):
            model.fit(X_s, y_s, sample_weight=weights)
        else:
            model.fit(X_s[weights > 0.5], y_s[weights > 0.5])
        found.append(model.score(X_test, y_test))
    return np.array(found)


def weighted(X_s, y_s):
    """Return rows once for each class that they have a share of, and these shares."""
    shares = np.clip(y_s + 1 / y_s.shape[1], 0, None)
    shares /= shares.sum(axis=1, keepdims=True)
    rows, classes = np.nonzero(shares > 0.05)
    return X_s[rows], classes, shares[rows, classes]


def taught(distiller, centres, labels, X, y, n_each=20):
    """Return rows drawn around centres, labelled by the distiller."""
    rng = np.random.RandomState(0)
    rows = []
    for centre, label in zip(centres, labels, strict=True):
        members = X[y == label]
        noise = members[rng.randint(len(members), size=n_each)] - members.mean(axis=0)
        rows.append(centre + 0.5 * noise)
    rows = np.concatenate(rows)
    return rows, distiller.predict(rows)


def ways(X, X_test, y, y_test, ipc):
    """Return the accuracies of the models on the set of each way, by its name."""
    stages = [0, *(step for step in STAGES if 0 < step < STEPS), STEPS]
    found = {}
    for name, params in RUNS.items():
        params = {"init": "kmeans", "max_iter": STEPS, "snapshots": stages, **params}
        distiller = KIPDistiller(ipc=ipc, random_state=0, **params).fit(X, y)
        hard = {
            step: (X_s, distiller.classes_[y_s.argmax(axis=1)])
            for step, (X_s, y_s) in distiller.snapshots_.items()
        }
        found.setdefault("k-means centres", accuracies(*hard[0], X_test, y_test))
        if name == "learned labels":
            found[f"{name}, after 4 steps"] = accuracies(*hard[4], X_test, y_test)
            found[f"{name}, the end"] = accuracies(*hard[STEPS], X_test, y_test)
            rows, labels, weights = weighted(distiller.X_s_, distiller.y_s_)
            found["the end, soft labels as weights"] = accuracies(
                rows, labels, X_test, y_test, weights
            )
            rows = taught(distiller, *hard[0], X, y)
            found["20 times as many rows, labelled by KIP"] = accuracies(*rows, X_test, y_test)
        step, _ = best_stage(hard, models_of("auto"), X, y)
        found[f"{name}, chosen"] = accuracies(*hard[step], X_test, y_test)
    return found


def main(arguments):
    warnings.simplefilter("ignore")
    print(provenance(), end="\n\n")
    gains = {}
    for name, (X, X_test, y, y_test) in sets_of(arguments.data):
        for share in SHARES:
            ipc = max(1, round(share * len(X) / len(np.unique(y))))
            found = ways(X, X_test, y, y_test, ipc)
            start = found["k-means centres"]
            for way, values in found.items():
                gains.setdefault(way, []).append(100 * (values - start))
            print(name, share, "done", flush=True)
    print("\n| way |", " | ".join(MODELS), "| mean | worst |")
    print("|---|", "---|" * (len(MODELS) + 2))
    for way, values in gains.items():
        values = np.array(values)
        cells = [*values.mean(axis=0), values.mean(), values.min()]
        print(f"| {way} |", " | ".join(f"{value:+.1f}" for value in cells), "|")


if __name__ == "__main__":
    main(parser(__doc__.splitlines()[0]).parse_args())
