"""Support sets as images and as tables, by the data of what is drawn."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer, StandardScaler

from kipsk import LabelSolver, RegularizedZCA
from kipsk.kernels import ConvNet, Invariant, RandomFeatures
from kipsk.plotting import SupportDisplay

from ._data import SHAPE

INNER = RandomFeatures("convnet1", image_shape=SHAPE)


# --- support, as images --------------------------------------------------------------------------


def drawn(display, *, vmin=0, vmax=16):
    """The rows that a Display has drawn as grey images between two values."""
    images = np.stack([image.get_array() for image in display.images_])
    assert_array_equal(images[..., :1], images[..., 1:2])
    return images[..., 0].reshape(len(images), -1) * (vmax - vmin) + vmin


def test_images_are_the_rows(solver):
    display = SupportDisplay.from_estimator(solver, image_shape=SHAPE, vmin=0, vmax=16)
    assert_allclose(drawn(display), solver.X_s_, atol=1e-5)
    assert display.kind_ == "images"
    largest = solver.classes_[solver.y_s_.argmax(axis=1)].astype(str)
    assert [text.get_text() for text in display.texts_] == list(largest)
    assert display.figure_ is display.ax_.figure
    assert display.ax_.get_title().startswith("20 support rows")


def test_contrast_is_that_of_all_rows_but_the_extremes(solver):
    low, high = np.percentile(solver.X_s_, [1, 99])
    display = SupportDisplay.from_estimator(solver, image_shape=SHAPE)
    expected = np.clip(solver.X_s_, low, high)
    assert_allclose(drawn(display, vmin=low, vmax=high), expected, atol=1e-5)


def test_bars_are_the_labels(solver):
    """Oracle: heights of the polygons, as shares of the first."""
    display = SupportDisplay.from_estimator(solver, image_shape=SHAPE)
    boxes = np.stack([path.vertices[:4] for path in display.bars_.get_paths()])
    heights = boxes[:, 0, 1] - boxes[:, 1, 1]  # y goes down
    labels = solver.y_s_.ravel()
    assert_allclose(heights / heights[0], labels / labels[0], rtol=1e-6)
    colours = display.bars_.get_facecolors().reshape(20, 10, 4)
    is_largest = (colours != colours[0, 1 if solver.y_s_[0].argmax() == 0 else 0]).any(axis=2)
    assert_array_equal(is_largest, np.eye(10, dtype=bool)[solver.y_s_.argmax(axis=1)])


def test_tiles_do_not_overlap(solver):
    display = SupportDisplay.from_estimator(solver, image_shape=SHAPE, n_columns=4)
    boxes = np.array([image.get_extent() for image in display.images_])
    left, right, bottom, top = boxes.T
    assert len(set(left)) == 4 and len(set(top)) == 5
    assert_allclose(right - left, 1)
    assert_allclose(bottom - top, 1)
    texts = np.array([text.get_position() for text in display.texts_])
    assert (texts[:, 1] > bottom).all()
    assert (texts[:-4, 1] < top[4:]).all()
    (high, low), (start, end) = display.ax_.get_ylim(), display.ax_.get_xlim()
    assert start < left.min() and right.max() < end and low < top.min() and texts[:, 1].max() < high


@pytest.mark.parametrize("length", [3, 20, 60])
def test_long_names_stay_below_their_images(length, rows):
    """Oracle: the boxes that matplotlib draws text in."""
    words = ["american_staffordshire_terrier ", "W", "fire engine, red ", "x-y/z."]
    names = [f"{i}{(words[i % 4] * 60)[: length - 1]}" for i in range(10)]
    y_s = np.eye(10)[np.arange(20) % 10]
    display = SupportDisplay(rows[0][:20], y_s, classes=names, image_shape=SHAPE).plot()
    display.figure_.canvas.draw()
    boxes = [text.get_window_extent() for text in display.texts_]
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:i])
        # The next line of images begins below.
        assert not any(box.overlaps(image.get_window_extent()) for image in display.images_)
    shown = [text.get_text() for text in display.texts_[:10]]
    assert [text[0] for text in shown] == list("0123456789")
    assert (length > 3) or shown == names
    assert all(text.count("\n") <= 2 for text in shown)
    assert length < 60 or all(text.endswith("…") for text in shown)
    # No letter is lost of names that fit.
    kept = [text.replace("\n", "").replace(" ", "") for text in shown if "…" not in text]
    assert set(kept) <= {name.replace(" ", "") for name in names}


def test_some_of_many_rows(solver):
    display = SupportDisplay.from_estimator(solver, image_shape=SHAPE, max_rows=5, vmin=0, vmax=16)
    assert_array_equal(display.indices_, [0, 5, 10, 14, 19])
    assert_allclose(drawn(display), solver.X_s_[display.indices_], atol=1e-5)
    assert "5 of 20" in display.ax_.get_title()


def test_colour_images_without_labels():
    X_s = np.random.default_rng(0).uniform(size=(3, 4 * 2 * 3))
    display = SupportDisplay(X_s, [1.0, 2.0, 3.25], image_shape=(4, 2, 3)).plot(vmin=0, vmax=1)
    images = np.stack([image.get_array() for image in display.images_])
    assert_allclose(images, X_s.reshape(3, 4, 2, 3))
    assert [text.get_text() for text in display.texts_] == ["1", "2", "3.25"]
    assert display.bars_ is None


@pytest.mark.parametrize(
    "kernel",
    [ConvNet(1, image_shape=SHAPE), Invariant("fc1", image_shape=SHAPE), Invariant(INNER)],
)
def test_shape_is_known_from_the_kernel(kernel, solver, monkeypatch):
    assert SupportDisplay.from_estimator(solver).kind_ == "heatmap"
    monkeypatch.setattr(solver, "kernel_", kernel)
    assert SupportDisplay.from_estimator(solver).kind_ == "images"
    assert SupportDisplay.from_estimator(solver, kind="heatmap").kind_ == "heatmap"


@pytest.mark.parametrize(
    "steps",
    [
        [StandardScaler()],
        [StandardScaler(with_std=False), RegularizedZCA(reg=0.1, layer_norm=False)],
        [StandardScaler(with_std=False), PCA(64, svd_solver="full")],
        [make_pipeline(StandardScaler(), "passthrough"), FunctionTransformer()],
        [FunctionTransformer(np.log1p, np.expm1)],
    ],
    ids=["scaler", "zca", "pca", "nested", "function"],
)
def test_rows_go_back_through_a_pipeline(steps, rows):
    """Oracle: Label Solve keeps real rows, so their pixels are known."""
    pipeline = make_pipeline(*steps, LabelSolver(ipc=1, random_state=0)).fit(*rows)
    display = SupportDisplay.from_pipeline(pipeline, image_shape=SHAPE, vmin=-1, vmax=17)
    expected = rows[0][pipeline[-1].support_indices_]
    assert_allclose(drawn(display, vmin=-1, vmax=17), expected, atol=1e-3)


def test_rows_go_back_through_preprocess(run):
    display = SupportDisplay.from_estimator(run, vmin=-50, vmax=50)
    pixels = drawn(display, vmin=-50, vmax=50)
    assert_allclose(run.preprocess_.transform(pixels), run.X_s_, atol=1e-3)
    kernel = SupportDisplay.from_estimator(run, space="kernel", vmin=-50, vmax=50)
    assert_allclose(drawn(kernel, vmin=-50, vmax=50), run.X_s_, atol=1e-4)


@pytest.mark.parametrize("step", [Normalizer(), FunctionTransformer(np.log1p)])
def test_no_way_back(step, rows):
    pipeline = make_pipeline(step, LabelSolver(ipc=1, random_state=0)).fit(*rows)
    with pytest.raises(ValueError, match=r"no(ne| inverse).*space='kernel'"):
        SupportDisplay.from_pipeline(pipeline, image_shape=SHAPE)
    display = SupportDisplay.from_estimator(pipeline[-1], space="kernel", image_shape=SHAPE)
    assert len(display.images_) == 10


# --- support, as table ---------------------------------------------------------------------------


def test_heatmap_is_the_rows_of_the_table_by_class(wine):
    """Oracle: Label Solve keeps real rows."""
    pipeline, X = wine
    display = SupportDisplay.from_pipeline(pipeline)
    assert display.kind_ == "heatmap"
    real = X.to_numpy()[pipeline[-1].support_indices_][display.indices_]
    low, high = real.min(axis=0), real.max(axis=0)
    shares = display.images_[0].get_array()
    assert_allclose(shares, (real - low) / (high - low), atol=1e-5)
    codes = pipeline[-1].y_s_.argmax(axis=1)[display.indices_]
    assert_array_equal(codes, np.sort(codes))
    ax = display.ax_
    there = [f"class_{code}" for code in np.unique(codes)]
    assert [label.get_text() for label in ax.get_yticklabels()] == there
    assert [label.get_text() for label in ax.get_xticklabels()] == list(X.columns)


def test_constant_feature_has_no_range():
    display = SupportDisplay([[1.0, 5.0], [2.0, 5.0]], np.eye(2), classes=["a", "b"]).plot()
    assert_array_equal(display.images_[0].get_array(), [[0, 0.5], [1, 0.5]])


def test_parallel_coordinates(wine):
    pipeline, _ = wine
    display = SupportDisplay.from_pipeline(pipeline, kind="parallel")
    lines = np.stack([line.get_ydata() for line in display.lines_])
    heat = SupportDisplay.from_pipeline(pipeline, kind="heatmap").images_[0].get_array()
    assert_allclose(lines, heat)
    codes = pipeline[-1].y_s_.argmax(axis=1)[display.indices_]
    assert len({line.get_color() for line in display.lines_}) == len(set(codes))
    legend = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert legend == [f"class_{code}" for code in np.unique(codes)]


@pytest.mark.parametrize("kind", ["heatmap", "parallel"])
def test_regression_is_sorted_by_target(kind, regressor):
    display = SupportDisplay.from_estimator(regressor, kind=kind)
    targets = regressor.y_s_[display.indices_]
    assert_array_equal(targets, np.sort(regressor.y_s_))


def test_rows_with_class_labels(rows):
    """What `fit_resample` returns: captions are the labels, and there are no soft ones to draw."""
    X, y = rows[0][:6], np.array(["b", "a", "c", "a", "b", "b"])
    for labels, classes in [(y, None), (y, ["a", "b", "c"]), (np.unique(y)[::-1], None)]:
        display = SupportDisplay(X[: len(labels)], labels, classes=classes, image_shape=SHAPE)
        assert [text.get_text() for text in display.plot().texts_] == list(labels)
        assert display.bars_ is None
    display = SupportDisplay(X, y).plot()
    assert_array_equal(display.indices_, [1, 3, 0, 4, 5, 2])
    assert [t.get_text() for t in display.ax_.get_yticklabels()] == ["a", "b", "c"]
    numbers = SupportDisplay(X, [3, 1, 5, 1, 3, 3], classes=[1, 3, 5]).plot()
    assert_array_equal(numbers.indices_, display.indices_)
    with pytest.raises(ValueError, match=r"'y_s' parameter .* classes \['a', 'b'\]\. Got \['c'\]"):
        SupportDisplay(X, y, classes=["a", "b"])


# --- all of them ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "params, message",
    [
        ({"kind": "images"}, r"Rows have 64 features: pass image_shape=\(H, W, C\)"),
        ({"image_shape": (8, 9, 1)}, r"'image_shape' parameter .* whose 64 values are a row"),
        ({"image_shape": (4, 8, 2)}, r"'image_shape' parameter .* 1 or 3 channels"),
        ({"image_shape": 8}, r"'image_shape' parameter .* \(height, width, channels\)\. Got 8"),
        ({"kind": "bars"}, r"'kind' parameter of SupportDisplay must be one of"),
        ({"max_rows": 0}, r"'max_rows' parameter .* >= 1\. Got 0"),
        ({"n_columns": 2.5}, r"'n_columns' parameter"),
        ({"space": "pixels"}, r"'space' parameter .* 'original' or 'kernel'"),
    ],
)
def test_bad_parameters(params, message, solver):
    with pytest.raises(ValueError, match=message):
        SupportDisplay.from_estimator(solver, **params)
