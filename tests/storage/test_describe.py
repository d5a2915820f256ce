"""Descriptions of equal values are equal, whatever order sets have in a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kipsk._storage._describe import describe, in_one_dtype

# What holds a set somewhere. Python orders sets of strings by a hash that each process draws.
VALUES = """
import functools
from dataclasses import make_dataclass

WIDTH, DEPTH, RATE, DECAY, FIRST, LAST = 1, 2, 0.1, 0.9, "first", ("last", frozenset("abc"))

def reads_globals(step):
    return WIDTH * DEPTH * RATE * DECAY, FIRST, LAST

def reads_globals_inside(step):
    def inner(x):
        return WIDTH * DEPTH * RATE, [DECAY for _ in FIRST]
    return (lambda x: inner(x) + LAST)(step)

def looks_up_constants(name):
    return name in {"adam", "sgd", "rmsprop", "lion", ("a", "b")}

def looks_up_constants_inside(name):
    return lambda x: any(n in {"adam", "sgd", "rmsprop", "lion"} for n in x)

def has_a_default(name, *, names=frozenset({"adam", "sgd", "rmsprop", "lion"})):
    return name in names

def closes_over(names):
    return lambda name: name in names

class Plain:
    def __init__(self, names):
        self.names = names
        for name in names:
            setattr(self, name, 0)

letters = set("abcdefgh")
VALUES = {
    "a function that reads globals": reads_globals,
    "a function inside of one": reads_globals_inside,
    "a constant of the code": looks_up_constants,
    "a constant of code inside": looks_up_constants_inside,
    "a default": has_a_default,
    "a closure": closes_over(letters),
    "a partial": functools.partial(has_a_default, names=letters),
    "keywords of a partial": functools.partial(has_a_default, **dict.fromkeys(letters, 0)),
    "a wrapped function": functools.wraps(reads_globals)(lambda step: reads_globals(step)),
    "a set": letters,
    "a set of sets": {frozenset(letters), frozenset("xyz"), frozenset()},
    "a list of sets": [letters, (letters,)],
    "a dict": dict.fromkeys(letters, 0),
    "keys of a dict that are sets": {frozenset(letters): 1},
    "values of a dict that are sets": {"letters": letters},
    "attributes": Plain(letters),
    "a dataclass": make_dataclass("Frozen", ["names"], frozen=True)(frozenset(letters)),
}
"""

CODE = """
import json, sys
from kipsk._storage._describe import describe
namespace = {"__name__": "values"}
exec(sys.argv[1], namespace)
print(json.dumps({name: describe(value) for name, value in namespace["VALUES"].items()}))
"""


@pytest.fixture(scope="module")
def texts():
    """Descriptions in three processes, each with another order of sets."""
    root = str(Path(__file__).parents[2])
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CODE, VALUES],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": root, "JAX_PLATFORMS": "cpu"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in "012"
    ]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    return list(map(json.loads, outputs))


def names():
    namespace = {"__name__": "values"}
    exec(VALUES, namespace)
    return list(namespace["VALUES"])


@pytest.mark.parametrize("name", names())
def test_the_order_of_sets_does_not_show(name, texts):
    """Oracle: the process with the first seed."""
    first, *others = (text[name] for text in texts)
    assert others == [first] * len(others)


def test_descriptions_are_told_apart(texts):
    assert len(set(texts[0].values())) == len(texts[0])


def test_the_order_of_a_dict_is_no_part_of_it():
    """As for Python: equal dicts have equal descriptions."""
    assert describe({"a": 1, "b": 2}) == describe({"b": 2, "a": 1}) == "dict('a'=1, 'b'=2)"


@pytest.mark.parametrize("name", ["FIRST", "SECOND"])
def test_each_global_that_a_function_reads_counts(name):
    texts = []
    for value in (1.0, 2.0):
        namespace = {"__name__": "values", "FIRST": 0.0, "SECOND": np.float32(0), name: value}
        exec("def rate(step):\n    return (lambda x: FIRST + x)(SECOND)", namespace)
        texts.append(describe(namespace["rate"]))
    assert texts[0] != texts[1]
    assert "FIRST=" in texts[0] and "SECOND=" in texts[0]


def test_equal_labels_in_one_dtype():
    """Oracle: the array of numpy that a list of them becomes."""
    names, numbers = np.array(["a", "bee", "a"]), np.array([0, 3, -2])
    for labels in (names, names.astype("U9"), names.astype(object), pd.Series(names), list(names)):
        assert describe(in_one_dtype(labels)) == describe(names)
    for dtype in (np.int8, np.float32, float, object, "Int64", ">i4"):
        labels = pd.Series(numbers).astype(dtype) if dtype == "Int64" else numbers.astype(dtype)
        assert describe(in_one_dtype(labels)) == describe(numbers)
    for other in (numbers + 1, numbers + 0.5, np.roll(names, 1), numbers.astype(str)):
        assert describe(in_one_dtype(other)) not in (describe(numbers), describe(names))
