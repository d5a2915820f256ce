"""What tables.py reads and splits, and what it makes of the results: regret, ranks, Markdown."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import rankdata
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

OWN = {
    "iris": load_iris,
    "wine": load_wine,
    "breast_cancer": load_breast_cancer,
    "digits": load_digits,
}
TEST_SIZE = 0.3  # TDBench tunes its learners on one half of it; the learners here have defaults
REFERENCE = 10  # random rows of each class, which have a regret of 1
MARGIN = 0.01  # a smaller gain of all rows over these random rows is noise

ALL, RANDOM, KMEANS, START, KIP = "all", "random", "k-means", "kip-start", "fit_resample"
ITSELF = "itself"  # a learner: the distiller, which predicts with what it has learned
DISTILLER = "distiller"  # a row of the tables: its predictions instead of those of each learner
METHODS = {
    ALL: "all rows",
    RANDOM: "random rows",
    KMEANS: "k-means",
    "agglomerative": "agglomerative (Ward)",
    "herding": "herding",
    "label-solve": "Label Solve",
    START: "KIP, its start",
    KIP: "KIP, fit_resample",
    "kip-end": "KIP, the end of a run",
}
TITLES = {**METHODS, DISTILLER: "(the distiller itself)"}


class Table(NamedTuple):
    """Categories in X are whole numbers, and what is missing is NaN; y is 0, 1, ... ."""

    X: np.ndarray
    y: np.ndarray
    categories: list  # the numbers of their columns


def tables(folder=None):
    """Return a function that loads each table, by its name."""
    if folder is None:
        return {name: lambda load=load: own(load) for name, load in OWN.items()}
    paths = sorted(path for path in Path(folder).iterdir() if path.suffix in (".csv", ".dat"))
    return {path.stem: lambda path=path: read_table(path) for path in paths}


def own(load):
    X, y = load(return_X_y=True)
    return Table(X, y, [])


def read_table(path):
    """Return a table of comma-separated values without a line of names, the class last.

    A column is one of numbers if all its values are; "?", "<null>" and nothing are missing values.
    Lines that start with "@", as those of KEEL's headers, and rows without a class are left out.
    """
    frame = pd.read_csv(
        path, header=None, skipinitialspace=True, na_values=["?", "<null>"], comment="@"
    )
    frame = frame.dropna(subset=frame.columns[-1])
    categories, columns = [], []
    for number, name in enumerate(frame.columns[:-1]):
        column = frame[name]
        if not pd.api.types.is_numeric_dtype(column):
            categories.append(number)
            codes = pd.factorize(column.astype(str).str.strip().where(column.notna()), sort=True)[0]
            column = np.where(codes < 0, np.nan, codes)
        columns.append(np.asarray(column, np.float64))
    y = np.unique(frame.iloc[:, -1].astype(str).str.strip(), return_inverse=True)[1]
    return Table(np.stack(columns, axis=1), y, categories)


def split(table, seed, max_rows):
    """Return X_train, X_test, y_train, y_test: numbers standardised, categories one-hot.

    Parameters
    ----------
    table : Table
    seed : int
    max_rows : int
        For training, at most; a random part of each class, where there are more.
    """
    train, test = train_test_split(
        np.arange(len(table.y)), test_size=TEST_SIZE, stratify=table.y, random_state=seed
    )
    if len(train) > max_rows:
        train, _ = train_test_split(
            train, train_size=max_rows, stratify=table.y[train], random_state=seed
        )
    numbers = np.setdiff1d(np.arange(table.X.shape[1]), table.categories)
    impute = SimpleImputer(strategy="median", keep_empty_features=True)
    encode = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    preprocess = ColumnTransformer(
        [
            ("numbers", make_pipeline(impute, StandardScaler()), numbers),
            ("categories", encode, table.categories),
        ]
    )
    X_train = preprocess.fit_transform(table.X[train])
    return X_train, preprocess.transform(table.X[test]), table.y[train], table.y[test]


def regret(accuracy, whole, random):
    """Return (all - set) / (all - random rows): 0 is as good as all rows, 1 as random rows.

    It is NaN where all rows are better than the random ones by less than `MARGIN`, or worse.
    """
    gain = np.asarray(whole, float) - random
    return np.where(gain >= MARGIN, whole - accuracy, np.nan) / np.where(gain >= MARGIN, gain, 1)


def interval(values, n_draws=10000):
    """Return the 95 % interval of a mean: a percentile bootstrap over the values."""
    values = np.asarray(values)
    draws = np.random.RandomState(0).randint(len(values), size=(n_draws, len(values)))
    return np.percentile(values[draws].mean(axis=1), [2.5, 97.5])


def with_regrets(lines):
    """Return means over seeds with the columns table, learner, method, ipc, value and regret.

    Parameters
    ----------
    lines : list of dict
        Lines of the CSV without errors.
    """
    lines = pd.DataFrame(lines).astype({"value": float, "ipc": int})
    key = ["table", "learner"]
    means = lines.groupby(["method", "ipc", *key], sort=False)["value"].mean().reset_index()
    is_own = means["learner"] == ITSELF
    learners = means.loc[~is_own, key].drop_duplicates()
    itself = means[is_own].drop(columns="learner").assign(method=DISTILLER)
    means = pd.concat([means[~is_own], itself.merge(learners, on="table")], ignore_index=True)
    where = pd.MultiIndex.from_frame(means[key])

    def of(method, ipc):
        chosen = means[(means["method"] == method) & (means["ipc"] == ipc)]
        return chosen.set_index(key)["value"].reindex(where).to_numpy()

    means["regret"] = regret(means["value"].to_numpy(), of(ALL, 0), of(RANDOM, REFERENCE))
    return means


def markdown(rows):
    """Return a table; `rows` are dicts of the same columns, the first of which has no title."""
    columns = list(rows[0])
    lines = [f"| | {' | '.join(map(str, columns[1:]))} |", "|---" * len(columns) + "|"]
    lines += [f"| {' | '.join(str(row[column]) for column in columns)} |" for row in rows]
    return "\n".join(lines)


def shown(value, digits=2):
    return "-" if pd.isna(value) else f"{value:.{digits}f}"


def regret_rows(part, learners):
    """Yield a line for each method: the mean of each learner, the mean of all, and the median."""
    for method in (m for m in TITLES if m in set(part["method"]) and m != ALL):
        wide = part[part["method"] == method].pivot(
            index="table", columns="learner", values="regret"
        )
        of_learners = wide.mean().reindex(learners)
        row = {"": TITLES[method], **{name: shown(of_learners[name]) for name in learners}}
        of_tables = wide.mean(axis=1).dropna()
        if len(of_tables):
            low, high = interval(of_tables)
            row["mean"] = f"{of_tables.mean():.2f} [{low:.2f}, {high:.2f}]"
        yield {**row, "mean": row.get("mean", "-"), "median": shown(of_tables.median())}
    left = part[part["method"] == RANDOM].groupby("learner")["regret"]
    left = left.apply(lambda regrets: regrets.isna().sum())
    yield {"": "tables left out", **{n: left.get(n, 0) for n in learners}, "mean": "", "median": ""}


def rank_rows(part, learners):
    """Yield a line for each method that makes sets: mean ranks, and how many learners it wins."""
    part = part[~part["method"].isin([ALL, DISTILLER])]
    wide = part.pivot(index=["learner", "table"], columns="method", values="value").dropna()
    ranks = pd.DataFrame(rankdata(-wide, axis=1), wide.index, wide.columns)
    ranks = ranks.groupby("learner").mean()
    best = part.groupby(["learner", "method"])["regret"].mean().unstack().dropna(how="all")
    wins = (best.sub(best.min(axis=1), axis=0) < 1e-6).sum()  # equal ones win both
    for method in (m for m in TITLES if m in wide):
        row = {name: shown(ranks[method].get(name, np.nan)) for name in learners}
        average = shown(ranks[method].mean())
        yield {"": TITLES[method], **row, "average": average, "wins": wins.get(method, 0)}


def accuracy_rows(part, learners):
    """Yield a line for each method: mean balanced accuracies in % over the tables."""
    means = 100 * part.groupby(["method", "learner"])["value"].mean().unstack()
    for method in (m for m in TITLES if m in means.index):
        values = means.loc[method].reindex(learners)
        row = {name: shown(values[name], 1) for name in learners}
        yield {"": TITLES[method], **row, "mean": shown(values.mean(), 1)}


def table_rows(part):
    """Yield a line for each table: balanced accuracies in %, means over the learners."""
    wide = 100 * part.pivot_table("value", "table", "method", sort=False)
    methods = [m for m in TITLES if m in wide]
    for name, values in wide.iterrows():
        yield {"": name, **{TITLES[m]: shown(values[m], 1) for m in methods}}


def stage_rows(lines, learners):
    """Yield how often `fit_resample` took its start, other rows not learned, and a later stage."""
    titles = {"0": "the start", "agglomerative": "Ward's centres", "random": "random rows"}
    kinds = [titles.get(line["stage"], "later") for line in lines]
    counts = pd.crosstab(kinds, [line["learner"] for line in lines])
    for kind, row in counts.iterrows():
        yield {"": kind, **{name: row.get(name, 0) for name in learners}}


def time_rows(lines, methods):
    """Yield mean seconds to make a set, and to train a learner on it."""
    lines = pd.DataFrame(lines).astype({"reduce_seconds": float, "fit_seconds": float})
    lines = lines[lines["learner"] != ITSELF]
    seconds = lines.groupby("method")[["reduce_seconds", "fit_seconds"]].mean()
    for method in (m for m in methods if m in seconds.index):
        values = seconds.loc[method]
        yield {
            "": TITLES[method],
            "to make": shown(values["reduce_seconds"], 2),
            "to train": shown(values["fit_seconds"], 3),
        }


def n_seeds(lines):
    """Return the number of seeds of each table, or "2 to 5"."""
    seeds = pd.DataFrame(lines).groupby("table")["seed"].nunique()
    return " to ".join(dict.fromkeys([str(seeds.min()), str(seeds.max())]))


def overview_rows(means, sizes):
    """Yield a line for each method: mean regrets, and how many learners they suit best, by size."""
    of_tables = means.groupby(["method", "ipc", "table"])["regret"].mean().dropna()
    best = means[~means["method"].isin([ALL, DISTILLER])]
    best = best.groupby(["ipc", "learner", "method"])["regret"].mean().unstack()
    wins = (best.sub(best.min(axis=1), axis=0) < 1e-6).groupby("ipc").sum()  # equal ones win both
    there = set(means["method"]) - {ALL}
    for method in (m for m in TITLES if m in there):
        row = {"": TITLES[method]}
        for size in sizes:
            part = of_tables.get((method, size), ())
            low, high = interval(part) if len(part) else (np.nan, np.nan)
            row[size] = f"{part.mean():.2f} [{low:.2f}, {high:.2f}]" if len(part) else "-"
        for size in sizes:
            row[f"best, {size}"] = wins[method][size] if method in wins else ""
        yield row


def size_rows(means, sizes):
    """Yield a line for each method: mean balanced accuracies in %, by size."""
    values = 100 * means.groupby(["method", "ipc"])["value"].mean()
    for method in (m for m in TITLES if m in values.index):
        part = values[method]
        yield {
            "": TITLES[method],
            **{n: shown(part.get(0 if method == ALL else n, np.nan), 1) for n in sizes},
        }


def worse_than_start(means, margin=0.1):
    """Return the cells, and of them (table, size, points) where `fit_resample` lost by its choice.

    There its mean regret over the learners is more than `margin` above that of its own start;
    points are those of mean balanced accuracy.
    """
    of_cells = means.groupby(["method", "table", "ipc"])[["regret", "value"]].mean()
    if not {KIP, START} <= set(means["method"]):
        return [], []
    more = (of_cells.loc[KIP] - of_cells.loc[START]).dropna()
    worse = more[more["regret"] > margin]
    points = [(*cell, 100 * lost) for cell, lost in (-worse["value"]).items()]
    return list(more.index), points


def overview(lines):
    """Yield the Markdown of means over all tables and learners, a piece at a time."""
    means = with_regrets(lines)
    sizes = sorted(set(means["ipc"]) - {0})
    yield (
        f"Mean regret by rows per class ({n_seeds(lines)} seeds), and for how many learners it is "
        "the smallest:"
    )
    yield markdown(list(overview_rows(means, sizes)))
    yield "Mean balanced accuracy in %, by rows per class:"
    yield markdown(list(size_rows(means, sizes)))
    cells, worse = worse_than_start(means)
    if cells:
        named = "; ".join(f"`{name}` at {size}, {lost:.1f} points" for name, size, lost in worse)
        yield (
            "Rows of `fit_resample` that train the learners worse than the start of its run, by "
            f"more than 0.1 of regret: {len(worse)} of {len(cells)} cells of a table and a size"
            f"{f' ({named})' if worse else ''}."
        )


def rendered(lines):
    """Yield the Markdown of each size, a piece at a time.

    Parameters
    ----------
    lines : list of dict
        All lines of the CSV that count: one for each figure, without errors.
    """
    means = with_regrets(lines)
    learners = list(dict.fromkeys(means["learner"]))
    for ipc in sorted(set(means["ipc"]) - {0}):
        part = means[means["ipc"].isin([0, ipc])]
        here = [line for line in lines if line["ipc"] in ("0", str(ipc))]
        n_tables = part["table"].nunique()
        yield f"## {ipc} rows per class: tables {n_tables}, seeds {n_seeds(here)}"
        if not part["regret"].isna().all():
            yield "Regret: means over the tables"
            yield markdown(list(regret_rows(part, learners)))
        yield "Mean ranks, and for how many learners the mean regret is the smallest"
        yield markdown(list(rank_rows(part, learners)))
        yield "Balanced accuracy in %, means over the tables"
        yield markdown(list(accuracy_rows(part, learners)))
        yield "Balanced accuracy in %, means over the learners"
        yield markdown(list(table_rows(part)))
        chosen = [line for line in here if line["stage"]]
        if chosen:
            yield "What `fit_resample` took, number of tables and seeds"
            yield markdown(list(stage_rows(chosen, learners)))
        yield "Mean seconds"
        yield markdown(list(time_rows(here, METHODS)))
