"""What the fuzzer feeds estimators: numbers, the containers that hold them, and labels."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

HAS_POLARS = importlib.util.find_spec("polars") is not None

# --- rows ----------------------------------------------------------------------------------------


def codes_of(layout: str) -> NDArray[np.int64]:
    """Return the class of each row. Few numbers of rows, because JAX compiles for each."""
    match layout:
        case "three classes" | "one column":
            return np.arange(24) % 3
        case "two classes":
            return np.arange(24) % 2
        case "one class":
            return np.zeros(24, int)
        case "one row a class":
            return np.arange(24)
        case "uneven":
            return np.repeat([0, 1, 2], [20, 3, 1])
        case "300 classes":
            return np.arange(330) % 300
        case "two rows":
            return np.arange(2)
    raise KeyError(layout)


SHORT_LAYOUTS = ["three classes", "one row a class", "one class"]
LONG_LAYOUTS = [*SHORT_LAYOUTS, "two classes", "uneven", "300 classes", "two rows", "one column"]


def rows_of(layout: str, seed: int) -> NDArray[np.float64]:
    """Return rows whose classes lie four deviations apart."""
    rng = np.random.default_rng(seed)
    codes = codes_of(layout)
    d = 1 if layout == "one column" else 4
    centres = 4 * np.eye(3, d) if codes.max() < 3 and d > 1 else 4.0 * np.arange(codes.max() + 1)
    if centres.ndim == 1:
        centres = centres[:, None] * np.ones(d)
    return rng.normal(size=(len(codes), d)) + centres[codes]


def _with(X: NDArray[np.float64], place: Any, value: Any) -> NDArray[np.float64]:
    X = X.copy()
    X[place] = value
    return X


CHANGES: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "as they are": lambda X: X,
    "rows twice": lambda X: np.concatenate([X[: len(X) // 2]] * 2)[: len(X)],
    "all rows equal": lambda X: X[:1].repeat(len(X), axis=0),
    "a constant column": lambda X: _with(X, np.s_[:, -1], 7.0),
    "a column far away": lambda X: _with(X, np.s_[:, 0], 1.7e9 + X[:, 0]),
    "all zero": lambda X: 0 * X,
    "mostly zero": lambda X: np.where(np.abs(X) < 2, 0, X),
    "an outlier": lambda X: _with(X, (0, 0), 1e15),
    "a small outlier": lambda X: _with(X, (0, 0), 1e4),
    "a missing value": lambda X: _with(X, (len(X) // 2, 0), np.nan),
    "infinity": lambda X: _with(X, (0, -1), np.inf),
}

FLOATS = ["float64", "float32", "float16", "longdouble"]
DTYPES = [*FLOATS, "int64", "int32", "int8", "uint8", "uint64", "bool"]


def _memory_mapped(X: NDArray[Any]) -> NDArray[Any]:
    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        np.save(file, X)
        file.flush()
        return np.load(file.name, mmap_mode="r")  # the map stays when the name is gone


def _read_only(X: NDArray[Any]) -> NDArray[Any]:
    X = X.copy()
    X.setflags(write=False)
    return X


def _frame(X: NDArray[Any]) -> pd.DataFrame:
    X = X.astype(float) if X.dtype in (np.float16, np.longdouble) else X
    return pd.DataFrame(X, columns=[f"column {i}" for i in range(X.shape[1])])


def _nullable(X: NDArray[Any]) -> pd.DataFrame:
    return _frame(X).convert_dtypes()


def _nullable_missing(X: NDArray[Any]) -> pd.DataFrame:
    frame = _nullable(X)
    frame.iloc[0, 0] = pd.NA
    return frame


def _categorical(X: NDArray[Any]) -> pd.DataFrame:
    return _frame(X).assign(kind=pd.Categorical(["ab"[i % 2] for i in range(len(X))]))


def _numbers_as_categories(X: NDArray[Any]) -> pd.DataFrame:
    return _frame(X).assign(kind=pd.Categorical([i % 2 for i in range(len(X))]))


def _mixed(X: NDArray[Any]) -> pd.DataFrame:
    return _frame(X).assign(count=np.arange(len(X), dtype=np.int8), flag=np.arange(len(X)) % 2 == 0)


def _polars(X: NDArray[Any]) -> Any:
    import polars

    return polars.DataFrame(X.astype(float), schema=[f"column {i}" for i in range(X.shape[1])])


#: What holds the rows. Those after "1-D" are no table, or one that has to be refused or encoded.
CONTAINERS: dict[str, Callable[[NDArray[Any]], Any]] = {
    "array": lambda X: X,
    "Fortran": np.asfortranarray,
    "read-only": _read_only,
    "big-endian": lambda X: X.astype(X.dtype.newbyteorder(">")),
    "memory-mapped": _memory_mapped,
    "strided": lambda X: X.repeat(2, axis=0)[::2, ::-1],
    "list": lambda X: X.tolist(),
    "tuple": lambda X: tuple(map(tuple, X.tolist())),
    "objects": lambda X: X.astype(object),
    "DataFrame": _frame,
    "DataFrame, other index": lambda X: _frame(X).set_index(np.arange(len(X))[::-1] - 5),
    "nullable": _nullable,
    "mixed": _mixed,
    "numbers as categories": _numbers_as_categories,
    "equal names": lambda X: _frame(X).set_axis(["column"] * X.shape[1], axis=1),
    "1-D": lambda X: X[:, 0],
    "3-D": lambda X: X[:, :, None],
    "no rows": lambda X: X[:0],
    "no columns": lambda X: X[:, :0],
    "one row": lambda X: X[:1],
    "nullable with NA": _nullable_missing,
    "categories": _categorical,
    "words": lambda X: X.astype(str),
    "names of two types": lambda X: pd.DataFrame(X.astype(float)).rename(columns={0: "first"}),
    "csr": lambda X: sparse.csr_matrix(X.astype(float)),
    "csc array": lambda X: sparse.csc_array(X.astype(float)),
    "coo": lambda X: sparse.coo_matrix(X.astype(float)),
    "sparse frame": lambda X: _frame(X).astype(pd.SparseDtype(float)),
    "complex": lambda X: X.astype(complex),
    "dates": lambda X: np.zeros(X.shape, "datetime64[D]"),
    "None": lambda X: None,
}
if HAS_POLARS:
    CONTAINERS["polars"] = _polars

# --- labels and targets --------------------------------------------------------------------------


def _missing(value: Any) -> Callable[[NDArray[Any]], NDArray[Any]]:
    def labels(codes: NDArray[Any]) -> NDArray[Any]:
        names = np.array([f"class {code}" for code in codes], object)
        names[-1] = value
        return names

    return labels


def _names(codes: NDArray[Any]) -> NDArray[Any]:
    return np.array([f"class {code}" for code in codes])


#: Class labels. Those after "mixed" are to be refused.
LABELS: dict[str, Callable[[NDArray[Any]], Any]] = {
    "int": lambda codes: codes,
    "from -3": lambda codes: codes - 3,
    "large": lambda codes: codes + 2**62,
    "uint8": lambda codes: codes.astype(np.uint16 if codes.max() > 255 else np.uint8),
    "big-endian": lambda codes: codes.astype(">i4"),
    "whole floats": lambda codes: codes.astype(float),
    "bool": lambda codes: codes % 2 == 0,
    "str": _names,
    "objects": lambda codes: _names(codes).astype(object),
    "bools as objects": lambda codes: (codes % 2 == 0).astype(object),
    "list": lambda codes: codes.tolist(),
    "list of str": lambda codes: _names(codes).tolist(),
    "Series": lambda codes: pd.Series(codes, name="label", index=codes * 0 + 7),
    "categorical": lambda codes: pd.Series(pd.Categorical(_names(codes))),
    "categorical numbers": lambda codes: pd.Series(pd.Categorical(codes)),
    "Int64": lambda codes: pd.Series(codes).astype("Int64"),
    "boolean": lambda codes: pd.Series(codes % 2 == 0).astype("boolean"),
    "string": lambda codes: pd.Series(_names(codes)).astype("string"),
    "column": lambda codes: codes[:, None],
    "frame": lambda codes: pd.DataFrame({"label": _names(codes)}),
    "mixed": lambda codes: np.array([c if c % 2 else f"{c}" for c in codes.tolist()], object),
    "None in it": _missing(None),
    "NaN in it": _missing(np.nan),
    "NA in it": lambda codes: pd.Series(codes).astype("Int64").where(codes > 0),
    "fractions": lambda codes: codes + 0.5,
    "not a number": lambda codes: np.where(codes == codes[0], np.nan, codes),
    "too short": lambda codes: codes[:-1],
    "matrix": lambda codes: np.eye(codes.max() + 1)[codes],
    "bytes": lambda codes: _names(codes).astype("S"),
    "dates": lambda codes: codes.astype("datetime64[D]"),
    "number": lambda codes: 5,
    "nothing": lambda codes: None,
}


def _numbers(codes: NDArray[Any]) -> NDArray[np.float64]:
    return (codes - codes.mean()) / len(set(codes)) + 0.1 * np.sin(np.arange(len(codes)))


#: Real targets. Those after "str" are to be refused.
TARGETS: dict[str, Callable[[NDArray[Any]], Any]] = {
    "float": _numbers,
    "float32": lambda codes: _numbers(codes).astype(np.float32),
    "float16": lambda codes: _numbers(codes).astype(np.float16),
    "int": lambda codes: codes,
    "bool": lambda codes: codes % 2 == 0,
    "two columns": lambda codes: np.stack([_numbers(codes), codes], axis=1),
    "column": lambda codes: _numbers(codes)[:, None],
    "constant": lambda codes: np.full(len(codes), 3.0),
    "tiny": lambda codes: 1e-30 * _numbers(codes),
    "huge": lambda codes: 1e30 * _numbers(codes),
    "far away": lambda codes: 1e12 + _numbers(codes),
    "outlier": lambda codes: np.where(np.arange(len(codes)) == 0, 1e15, _numbers(codes)),
    "list": lambda codes: _numbers(codes).tolist(),
    "Series": lambda codes: pd.Series(_numbers(codes)),
    "Float64": lambda codes: pd.Series(_numbers(codes)).astype("Float64"),
    "big-endian": lambda codes: _numbers(codes).astype(">f8"),
    "objects": lambda codes: _numbers(codes).astype(object),
    "str": _names,
    "categories": lambda codes: pd.Series(pd.Categorical(_names(codes))),
    "NaN in it": lambda codes: np.where(codes == codes[0], np.nan, 1.0),
    "infinity": lambda codes: np.where(codes == codes[0], np.inf, 1.0),
    "NA in it": lambda codes: pd.Series(codes).astype("Float64").where(codes > 0),
    "too short": lambda codes: _numbers(codes)[:-1],
    "complex": lambda codes: codes + 1j,
    "nothing": lambda codes: None,
}
