"""What `Moments` refuses, warns of, and leaves as it was."""

from __future__ import annotations

import re
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.preprocessing import StandardScaler

from kipsk import KIPDistiller, Moments
from kipsk._data._classes import ClassCoding, codes_of
from kipsk._distil._moments import Way, sums_over
from kipsk._distil._targets import Change
from kipsk._jax import own_settings
from kipsk._kip._moments._rows import UnitVectors
from kipsk.augment import Compose, Flip, MixUp, Noise, Shift
from kipsk.augment._augmentations import mixes_rows, without_flip
from kipsk.kernels import RBF, FullyConnected, Landmarks, Polynomial

SHAPE = (3, 4, 1)
X = np.random.default_rng(0).normal(size=(40, 12)).astype(np.float32)
Y = np.arange(40) % 2


def refused(message, call, error=ValueError):
    with pytest.raises(error, match=f"(?s){message}"):
        call()


def collected(**params):
    return Moments(Polynomial(1), **{"classes": [0, 1], **params})


# --- labels --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("classes", "y"),
    [
        (np.arange(20), np.arange(20)[::-1]),
        (np.array(["a", "b", "c"]), np.array(["c", "a"], object)),
        (np.array(["a", "b", "c"], object), np.array(["c", "a"])),
        (np.array([0.5, 2.0]), np.array([2.0, 0.5, 0.5])),
        (np.array([False, True]), np.array([1, 0])),
        (np.arange(3), np.zeros(0)),
    ],
    ids=str,
)
def test_codes(classes, y):
    """Oracle: the labels that the codes stand for."""
    codes, unknown = codes_of(y, classes)
    assert not len(unknown)
    assert_array_equal(classes[codes], y)


@pytest.mark.parametrize(
    ("classes", "y", "unknown"),
    [
        (np.arange(20), np.arange(20).astype(str), sorted(map(str, range(20)))),
        (np.array(["1", "2"]), np.array([2, 1, 1]), [1, 2]),
        (np.array(["1", "2"], object), np.array([2, 1, 1]), [1, 2]),
        (np.arange(3), np.array([4, 1, -1, 4]), [-1, 4]),
        (np.arange(3), np.array([0.5, 1]), [0.5]),
        (np.array(["a", "c"]), np.array(["b", "d", "a"]), ["b", "d"]),
    ],
    ids=str,
)
def test_labels_that_are_not_among_the_classes(classes, y, unknown):
    assert codes_of(y, classes)[1].tolist() == unknown


def test_strings_are_not_numbers():
    rows, y = np.zeros((20, 2)), np.arange(20).astype(str)
    message = r"not among {}.*\['0', '1', '10'.*such as \[0, 1, 2.*no string is equal to a number"
    refused(message.format("'classes'"), lambda: collected(classes=range(20)).fit(rows, y))
    refused(
        message.format("the classes of the first call"),
        lambda: KIPDistiller("fc1", ipc=1).partial_fit(rows, y, classes=range(20)),
    )
    labels = np.array(["1", "0"])
    assert ClassCoding(np.arange(2)).given(labels) is labels
    refused(
        r"'labels' of the file.*\['0', '1'\] too",
        lambda: ClassCoding.of_file(labels, {"classes": np.arange(2)}),
    )


def test_targets_are_made_a_block_at_a_time():
    """Oracle: rows of the identity."""
    vectors = UnitVectors(Y, 3)
    assert vectors.shape == (40, 3)
    assert_array_equal(vectors[5:17], np.eye(3)[Y[5:17]])


# --- rows ----------------------------------------------------------------------------------------


def test_a_preprocess_that_is_not_what_jax_does():
    class Shifted(StandardScaler):
        def transform(self, X):
            return super().transform(X) + 5

    scaler = Shifted().fit(X)
    params = {"augment": "flip", "image_shape": SHAPE}
    refused("subclass", lambda: collected(preprocess=scaler, **params).fit(X, Y))
    # Without an augmentation its own `transform` is called. Oracle: the rows that it makes.
    found = collected(preprocess=scaler).fit(X, Y)
    assert_allclose(found.H_, collected().fit(scaler.transform(X), Y).H_, rtol=1e-5)


def test_rows_that_float32_blurs():
    rows = X + np.float64(1e7)
    with pytest.warns(UserWarning, match="Moments computes in float32"):
        first = collected().fit(rows, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first.partial_fit(rows, Y)  # it has been said
        collected(dtype="float64").fit(rows, Y)
        collected().fit(X.astype(float), Y)


def test_sums_that_are_not_finite():
    """The object is as it was: fitted if it was, and not if it was not."""
    found = Moments(Polynomial(2), classes=[0, 1])
    for call in (found.fit, found.partial_fit):
        refused("finite squares", lambda call=call: call(X * np.float32(1e20), Y))
    assert not hasattr(found, "n_features_in_")
    found.fit(X, Y)
    before = dict(vars(found))
    for call in (found.fit, found.partial_fit):
        refused("finite squares", lambda call=call: call(X * np.float32(1e20), Y))
    assert vars(found) == before
    assert np.isfinite(
        Moments(Polynomial(2), classes=[0, 1], dtype="float64").fit(X * 1e20, Y).H_
    ).all()


def test_names_go_to_a_transformer_that_has_names():
    frame = pd.DataFrame(X.astype(float), columns=[f"c{i}" for i in range(12)])
    named, plain = StandardScaler().fit(frame), StandardScaler().fit(frame.to_numpy())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = [
            collected(preprocess=scaler, block_size=7).fit(rows, Y)
            for scaler, rows in ((named, frame), (plain, frame), (plain, X))
        ]
        augmented = {"augment": "flip", "image_shape": SHAPE}
        collected(preprocess=named, **augmented).fit(frame, Y)
    for one in found[1:]:
        assert_allclose(one.H_, found[0].H_, rtol=1e-5, atol=1e-6)
    shuffled = frame[frame.columns[::-1]]
    refused("same order", lambda: collected(preprocess=named).fit(shuffled, Y))


# --- augmentations -------------------------------------------------------------------------------


class Smooth(Noise):
    """Targets that are moved, each by itself."""

    def with_targets(self, key, images, y):
        return self(key, images), 0.9 * y + 0.1 / y.shape[1]


@pytest.mark.parametrize(
    ("augmentation", "mixes"),
    [
        (MixUp(), True),
        (Compose([Flip(), MixUp(0.2, 0.3)], 0.5), True),
        (Flip(), False),
        (Smooth(), False),
        (Flip() >> Shift(0.4) >> Noise(), False),
        (lambda key, images: 2 * images, False),
    ],
    ids=["MixUp", "Flip, MixUp", "Flip", "Smooth", "Flip, Shift, Noise", "function"],
)
def test_augmentations_that_mix_rows(augmentation, mixes):
    for rows in (X, X[:1], 1e6 * X):
        assert mixes_rows(augmentation, rows, np.eye(2)[Y[: len(rows)]], SHAPE) is mixes
    if mixes:
        moments = collected(augment=augmentation, image_shape=SHAPE)
        refused("'augment'.*of its own.*MixUp", lambda: moments.fit(X, Y))
        distiller = KIPDistiller(
            FullyConnected(depth=0), ipc=1, batch_size="all", max_iter=1, augment=augmentation,
            image_shape=SHAPE,
        )  # fmt: skip
        refused("'augment'.*batch_size.*MixUp", lambda: distiller.fit(X, Y))


class Doubled(Flip):
    """A subclass that is no mirror."""

    def change(self, key, images):
        return 2 * images


def test_a_subclass_of_flip_is_drawn():
    """Oracle: the moments of rows that are doubled."""
    chain = Doubled(1.0) >> Shift()
    assert without_flip(Doubled()) == (0.0, Doubled())
    assert without_flip(chain) == (0.0, chain)
    assert without_flip(Flip(0.3)) == (0.3, None)
    assert without_flip(Flip(0.3) >> Shift()) == (0.3, Shift())
    assert without_flip(Flip() >> Shift() >> Noise()) == (0.5, Shift() >> Noise())
    assert without_flip(None) == (0.0, None)
    found = collected(augment=Doubled(1.0), image_shape=SHAPE).fit(X, Y)
    assert_allclose(found.H_, collected().fit(2 * X, Y).H_, rtol=1e-5, atol=1e-6)


def test_a_block_is_read_once_for_all_draws():
    """Oracle: the passes of one draw each, whose blocks have the numbers of that draw."""

    class Read:
        shape, reads = X.shape, 0

        def __getitem__(self, rows):
            self.reads += 1
            return X[rows]

    change = Change(jax.random.key(3), None, Noise(1.0), None)
    way = Way(Polynomial(1).function(), change)
    rows, targets, weight = Read(), np.eye(2)[Y], np.ones(40)
    found = sums_over(way, rows, targets, weight, block_size=10, n_draws=3)
    assert rows.reads == 4

    expected = np.zeros_like(found.H)
    for draw in range(3):
        for number in range(4):
            part = slice(10 * number, 10 * number + 10)
            with own_settings():
                arrays = (jnp.asarray(array[part]) for array in (X, targets, weight))
                Phi = np.asarray(way(*arrays, np.uint32(number + 4 * draw))[1], np.float64)
            expected += Phi.T @ Phi / 3
    assert_allclose(found.H, expected, rtol=1e-4, atol=1e-4)


# --- kernels, files, other moments ---------------------------------------------------------------


def test_a_kernel_to_predict_with_is_not_resolved_on_noise():
    moments = Moments(FullyConnected(depth=0), classes=[0, 1]).fit(X, Y)
    model = KIPDistiller(moments.kernel_, ipc=1, max_iter=2, random_state=0)
    for unresolved in (RBF(), Landmarks("fc1", 3)):
        model.set_params(predict_kernel=unresolved)
        refused("'predict_kernel'.*resolve", lambda: model.fit_moments(moments))
    model.set_params(predict_kernel=RBF().resolve(X)).fit_moments(moments)
    assert model.predictor_.kernel_.length_scale == RBF().resolve(X).length_scale


def test_why_a_kernel_needs_rows_is_said(tmp_path):
    kernel = Landmarks(RBF(3.0), 5)
    path = tmp_path / "moments.npz"
    resolved = Moments(kernel, classes=[0, 1]).fit(X, Y)
    resolved.save(path)
    refused("'kernel_' of the Moments", lambda: Moments(kernel, classes=[0, 1]).load(path))
    for bad in (Polynomial(-1), FullyConnected(depth=-1)):
        with pytest.raises(ValueError) as caught:
            bad.function()
        reason = re.escape(str(caught.value))
        refused(reason, lambda bad=bad: Moments(bad, classes=[0, 1]).load(path))
        refused(reason, lambda bad=bad: Moments(bad, classes=[0, 1], epsilon=1.0).fit(X, Y))
        refused(reason, lambda bad=bad: Moments(bad, classes=[0, 1]).fit(X, Y))


def test_a_refused_file_changes_nothing(tmp_path):
    path = tmp_path / "moments.npz"
    collected(classes=[0, 1, 2]).fit(X[:, :5], Y).save(path)
    found = collected().fit(X, Y)
    before = dict(vars(found))
    refused("of the same classes", lambda: found.load(path))
    assert vars(found) == before
    fresh = collected()
    before = dict(vars(fresh))
    refused("of the same classes", lambda: fresh.load(path))
    assert vars(fresh) == before
