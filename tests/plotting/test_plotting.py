"""Displays, by the data of what they draw."""

from __future__ import annotations

import io
import pickle
import sys

import matplotlib
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_diabetes, load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer, StandardScaler

from kipsk import KIPDistiller, KIPRegressor, LabelSolver, RegularizedZCA
from kipsk.kernels import ConvNet, Invariant, RandomFeatures
from kipsk.metrics import intrinsic_dimension, nearest_rows
from kipsk.plotting import (
    ComparisonDisplay,
    DistillationCurveDisplay,
    IntrinsicDimensionDisplay,
    LabelDisplay,
    SnapshotDisplay,
    SupportDisplay,
)

matplotlib.use("Agg")
import matplotlib.pyplot as plt

pytestmark = pytest.mark.usefixtures("quick_compilation")
SHAPE = (8, 8, 1)
INNER = RandomFeatures("convnet1", image_shape=SHAPE)


@pytest.fixture(autouse=True)
def figures_are_closed():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def rows():
    X, y = load_digits(return_X_y=True)
    return X[:300], y[:300]


@pytest.fixture(scope="module")
def solver(rows):
    """Two real rows of each class with solved labels."""
    return LabelSolver(ipc=2, random_state=0).fit(*rows)


@pytest.fixture(scope="module")
def run(rows):
    """A run with all that it may leave behind, behind a transformer of its own."""
    return KIPDistiller(
        ipc=1,
        max_iter=12,
        snapshots=[0, 3, 12],
        early_stopping=True,
        n_iter_no_change=10,
        preprocess=StandardScaler(),
        image_shape=SHAPE,
        random_state=0,
    ).fit(*rows)


@pytest.fixture(scope="module")
def wine():
    data = load_wine(as_frame=True)
    names = data.target_names[data.target]
    pipeline = make_pipeline(StandardScaler(), LabelSolver(ipc=2, random_state=0))
    return pipeline.fit(data.data, names), data.data


@pytest.fixture(scope="module")
def regressor():
    return KIPRegressor(n_support=6, max_iter=2, reg=1e-2, random_state=0).fit(
        *load_diabetes(return_X_y=True)
    )


RESULTS = {
    "reducer": ["all", "random", "random", "random", "good", "good", "good", "best"],
    "model": ["SVC"] * 8,
    "ipc": [None, 1, 10, 100, 1, 10, 20, None],
    "n_rows": [10000, 10, 100, 1000, 10, 100, 200, 10],
    "accuracy": [0.9, 0.3, 0.5, 0.8, 0.4, 0.8, 0.2, 0.95],
    "reduce_seconds": [0, 1, 1, 1, 1, 1, 1, 1],
    "fit_seconds": [1] * 8,
}


# ------------------------------------------------------------------------------- support, as images


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


# -------------------------------------------------------------------------------- support, as table


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


# -------------------------------------------------------------------------------- labels, snapshots


def test_labels(solver, wine):
    display = LabelDisplay.from_estimator(solver)
    assert_array_equal(display.image_.get_array(), solver.y_s_)
    low, high = display.image_.get_clim()
    assert low == -high == -np.abs(solver.y_s_).max()
    for draw in (LabelDisplay.from_estimator, LabelDisplay.from_pipeline):
        display = draw(wine[0])
        assert_array_equal(display.image_.get_array(), wine[0][-1].y_s_)
    names = [t.get_text() for t in display.ax_.get_xticklabels()]
    assert names == ["class_0", "class_1", "class_2"]


def test_labels_of_a_regression_are_refused(regressor):
    with pytest.raises(ValueError, match=r"Got a KIPRegressor instead"):
        LabelDisplay.from_estimator(regressor)


def test_snapshots(run, rows):
    """Oracle: the first are training rows, the last undo the standardisation."""
    display = SnapshotDisplay.from_estimator(run, rows=[1, 4], vmin=-50, vmax=50)
    sheet = display.image_.get_array()[..., 0] * 100 - 50
    assert sheet.shape == (3 * 9 - 1, 2 * 9 - 1)
    first = np.stack([sheet[:8, :8].ravel(), sheet[:8, 9:].ravel()])
    assert_allclose(nearest_rows(first, rows[0])[0], 0, atol=1e-3)
    last = run.preprocess_.transform(sheet[18:, 9:].reshape(1, -1))
    assert_allclose(last[0], run.snapshots_[12][0][4], atol=1e-3)
    assert [t.get_text() for t in display.ax_.get_yticklabels()] == ["0", "3", "12"]
    names = run.classes_[run.snapshots_[12][1][[1, 4]].argmax(axis=1)].astype(str)
    assert [t.get_text() for t in display.ax_.get_xticklabels()] == list(names)


def test_snapshots_go_back_through_a_pipeline(rows):
    distiller = KIPDistiller(ipc=1, max_iter=1, snapshots=[0], random_state=0)
    pipeline = make_pipeline(StandardScaler(), distiller).fit(*rows)
    display = SnapshotDisplay.from_pipeline(pipeline, image_shape=SHAPE, rows=[3], vmin=0, vmax=16)
    pixels = display.image_.get_array()[..., 0].reshape(1, -1) * 16
    assert_allclose(nearest_rows(pixels, rows[0])[0], 0, atol=1e-3)


@pytest.mark.parametrize(
    "params, message",
    [
        ({"steps": [0, 5]}, r"'steps' parameter .* steps \[0, 3, 12\]\. Got \[0, 5\] instead"),
        ({"steps": []}, r"'steps' parameter"),
        ({"rows": [10]}, r"'rows' parameter .* from 0 to 9\. Got \[10\] instead"),
        ({"rows": []}, r"'rows' parameter"),
        ({"image_shape": (4, 4, 1)}, r"'image_shape' parameter .* whose 64 values"),
    ],
)
def test_snapshots_that_are_not_there(params, message, run):
    with pytest.raises(ValueError, match=message):
        SnapshotDisplay.from_estimator(run, **params)


@pytest.mark.parametrize("display", [SnapshotDisplay, IntrinsicDimensionDisplay])
def test_without_snapshots(display, solver):
    with pytest.raises(ValueError, match=r"LabelSolver without any: fit .* snapshots='log'"):
        display.from_estimator(solver)


def test_dimensions(run, rows):
    display = IntrinsicDimensionDisplay.from_estimator(run, rows[0])
    expected = [intrinsic_dimension(X_s) for X_s, _ in run.snapshots_.values()]
    assert_array_equal(display.line_.get_xdata(), [0, 3, 12])
    assert_allclose(display.line_.get_ydata(), expected)
    # In the units that the kernel sees, and of as few rows.
    X, rng = run.preprocess_.transform(rows[0]), np.random.RandomState(0)
    draws = [intrinsic_dimension(X[rng.permutation(300)[:10]]) for _ in range(10)]
    assert_allclose(display.reference_line_.get_ydata(), np.mean(draws))
    assert IntrinsicDimensionDisplay.from_estimator(run).reference_line_ is None


def test_reference_of_a_table_with_names(run, rows):
    names = [f"pixel {i}" for i in range(64)]
    found = IntrinsicDimensionDisplay.from_estimator(run, pd.DataFrame(rows[0], columns=names))
    assert found.reference == IntrinsicDimensionDisplay.from_estimator(run, rows[0]).reference


def test_reference_goes_through_the_pipeline(rows):
    distiller = KIPDistiller(ipc=1, max_iter=1, snapshots=[0, 1], random_state=0)
    pipeline = make_pipeline(StandardScaler(), distiller).fit(*rows)
    found = IntrinsicDimensionDisplay.from_estimator(pipeline, rows[0])
    same = IntrinsicDimensionDisplay.from_estimator(distiller, pipeline[0].transform(rows[0]))
    assert found.reference == same.reference


# ------------------------------------------------------------------------------------------- curves


def test_curves(run):
    display = DistillationCurveDisplay.from_estimator({"a": run, "b": make_pipeline(run)})
    assert len(display.axes_) == 2
    for name in "ab":
        assert_array_equal(display.loss_lines_[name].get_ydata(), run.loss_curve_)
        assert_array_equal(display.score_lines_[name].get_xdata(), run.validation_steps_)
        assert_array_equal(display.score_lines_[name].get_ydata(), run.validation_scores_)
        assert display.best_[name].get_xdata() == run.best_iter_
    colours = {display.loss_lines_[name].get_color() for name in "ab"}
    assert len(colours) == 2
    assert display.axes_[1].get_ylabel() == "accuracy"
    assert [t.get_text() for t in display.axes_[0].get_legend().get_texts()] == ["a", "b"]


def test_curves_on_given_axes(run):
    _, (one, other) = plt.subplots(1, 2)
    assert DistillationCurveDisplay.from_estimator(run, ax=one).score_lines_ == {}
    assert DistillationCurveDisplay.from_estimator(run, ax=one, show="score").loss_lines_ == {}
    display = DistillationCurveDisplay.from_estimator(run, ax=[one, other])
    assert display.axes_ == [one, other] and display.ax_ is one
    with pytest.raises(ValueError, match=r"'ax' parameter .* as many Axes as there are plots"):
        display.plot([one, other], show="loss")


def test_curve_without_scores(regressor):
    display = DistillationCurveDisplay.from_estimator(regressor)
    assert len(display.axes_) == 1 and display.ax_.get_legend() is None
    with pytest.raises(ValueError, match=r"no scores to show.*early_stopping=True"):
        display.plot(show="score")


def test_curve_of_what_has_no_run(solver):
    with pytest.raises(ValueError, match=r"Got a LabelSolver without loss_curve_"):
        DistillationCurveDisplay.from_estimator(solver)


# --------------------------------------------------------------------------------------- comparison


@pytest.mark.parametrize("as_frame", [False, True])
def test_comparison(as_frame):
    results = RESULTS
    if as_frame:
        import pandas as pd

        results = pd.DataFrame(RESULTS).astype({"ipc": "Int64"})
    display = ComparisonDisplay.from_results(results, baseline="random")
    assert list(display.lines_) == ["random", "good", "best"]
    assert_array_equal(display.lines_["good"].get_xdata(), [10, 100, 200])
    assert_array_equal(display.lines_["good"].get_ydata(), [0.4, 0.8, 0.2])
    assert_array_equal(display.full_line_.get_ydata(), [0.9, 0.9])
    assert [text.get_text() for text in display.texts_] == [
        "more than ×1000",
        "×3.2",
        "×10",
        "less than ×0.05",
    ]
    assert display.plot(show_worth=False).texts_ == []
    assert ComparisonDisplay.from_results(results).texts_ == []


def test_worth_by_hand():
    """Half-way from 0.3 to 0.5 is half-way from log 10 to log 100; all rows end the curve."""
    display = ComparisonDisplay.from_results(RESULTS, baseline="random")
    found = {(w.reducer, w.n_rows): (w.relation, w.times) for w in display.worth()}
    assert found.keys() == {("good", 10), ("good", 100), ("good", 200), ("best", 10)}
    assert found["good", 10] == ("=", pytest.approx(10**0.5))
    assert found["good", 100] == ("=", pytest.approx(10))
    assert found["good", 200] == ("<", pytest.approx(10 / 200))
    assert found["best", 10] == (">", pytest.approx(1000))


def test_worth_of_an_accuracy_reached_and_lost_again():
    """The first size that reaches it counts, and what noise takes away later does not."""
    natural = [10, 100, 1000, 10000], [0.5, 0.8, 0.7, 0.9], [0] * 4
    curves = {"random": natural, "good": ([10, 20], [0.8, 0.9], [0, 0])}
    worths = ComparisonDisplay(curves, baseline="random").worth()
    assert_allclose([worth.times for worth in worths], [10, 500])


def test_comparison_of_several_models_and_failures():
    results = {name: [*values, values[-1]] for name, values in RESULTS.items()}
    results["accuracy"][-2] = np.nan
    results["model"][-1] = "1-NN"
    display = ComparisonDisplay.from_results(results, model="SVC")
    assert list(display.lines_) == ["random", "good"]
    with pytest.raises(ValueError, match=r"'model' parameter .* one of \['SVC', '1-NN'\]"):
        ComparisonDisplay.from_results(results)
    with pytest.raises(ValueError, match=r"'data' parameter"):
        ComparisonDisplay.from_results(RESULTS, data="digits")


def test_unknown_baseline():
    with pytest.raises(ValueError, match=r"'baseline' parameter .* \['random', 'good', 'best'\]"):
        ComparisonDisplay.from_results(RESULTS, baseline="all")


# -------------------------------------------------------------------------------------- all of them


def displays(solver, run):
    return [
        SupportDisplay.from_estimator(solver, image_shape=SHAPE),
        SupportDisplay.from_estimator(solver),
        LabelDisplay.from_estimator(solver),
        SnapshotDisplay.from_estimator(run),
        IntrinsicDimensionDisplay.from_estimator(run),
        DistillationCurveDisplay.from_estimator(run),
        ComparisonDisplay.from_results(RESULTS, baseline="random"),
    ]


def test_displays_pickle_and_draw_again_and_fit_their_figure(solver, run):
    for display in displays(solver, run):
        assert display.ax_.get_title()
        ax = display.figure_.axes[0]
        display.figure_.savefig(io.BytesIO(), format="png")
        again = pickle.loads(pickle.dumps(display))
        assert type(again.plot().ax_) is type(ax)
        _, given = plt.subplots()
        assert display.plot(given).ax_ is given
        plt.close("all")


def test_without_matplotlib(monkeypatch, solver, run):
    made = displays(solver, run)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    for display in made:
        with pytest.raises(ImportError, match=r"Display.plot needs .* with its extra 'plot'"):
            display.plot()
    assert len(made[-1].worth()) == 4


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


@pytest.mark.parametrize("display", [SupportDisplay, SnapshotDisplay])
def test_estimators_that_are_not_for_it(display, solver, wine):
    with pytest.raises(ValueError, match=r"Got a Pipeline instead: call \w+\.from_pipeline"):
        display.from_estimator(wine[0])
    for each in (display, LabelDisplay):
        with pytest.raises(ValueError, match=r"must be a Pipeline.*call \w+\.from_estimator"):
            each.from_pipeline(solver)
    with pytest.raises(ValueError, match=r"must be a distiller .*Got LogisticRegression"):
        display.from_estimator(LogisticRegression())
    with pytest.raises(ValueError, match=r"must be a distiller"):
        display.from_pipeline(make_pipeline(StandardScaler(), LogisticRegression()))
    with pytest.raises(NotFittedError):
        display.from_estimator(LabelSolver())


@pytest.mark.parametrize(
    "draw",
    [
        SupportDisplay.from_estimator,
        SupportDisplay.from_pipeline,
        SnapshotDisplay.from_pipeline,
        LabelDisplay.from_estimator,
        DistillationCurveDisplay.from_estimator,
        IntrinsicDimensionDisplay.from_estimator,
    ],
)
def test_a_search_is_told_to_pass_its_best_estimator(draw, rows):
    search = GridSearchCV(LabelSolver(ipc=1, random_state=0), {"reg": [1e-3]}, cv=2).fit(*rows)
    with pytest.raises(ValueError, match=r"Got a GridSearchCV instead: pass search\.best_estima"):
        draw(search)
    assert SupportDisplay.from_estimator(search.best_estimator_, image_shape=SHAPE).kind_
