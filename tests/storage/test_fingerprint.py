"""Fingerprints and descriptions: what tells values apart, in this process and in another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np

import kipsk
from kipsk._storage._describe import describe, fingerprint


def test_fingerprint_tells_arrays_apart():
    """One bit, the shape, the dtype, and, of equal bytes, where the rows end."""
    rows = np.random.default_rng(0).normal(size=(5000, 3)).astype(np.float32)  # several blocks
    flipped = rows.copy()
    flipped.view(np.uint32)[-1, -1] ^= 1
    objects = np.array(["a", "b"], dtype=object)
    arrays = [
        rows,
        flipped,
        rows.T,
        rows.reshape(3, 5000),
        rows.view(np.int32),
        np.float32(0),
        np.zeros(1, np.float32),
        np.zeros(0, np.float32),
        objects,
        objects[::-1],
    ]
    assert len({fingerprint(array) for array in arrays}) == len(arrays)
    for equal in (rows.copy(), np.asfortranarray(rows), np.repeat(rows, 2, axis=0)[::2]):
        assert fingerprint(equal) == fingerprint(rows)
    assert fingerprint(objects.copy()) == fingerprint(objects)


# Run in two processes. Each has to be told from the others, and be the same in both.
VALUES = """
import functools
import jax, jax.numpy as jnp, numpy as np, optax
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from kipsk import RegularizedZCA, augment, kernels

def named(key, images):
    return images

class Changed:
    def __call__(self, key, images):
        return images

rows = np.arange(12, dtype=np.float32).reshape(4, 3)
VALUES = [
    None, True, 1, 0.5, "fc1", "auto", (1, 2), [1, 2], range(3), frozenset({1, 2}),
    kernels.FullyConnected(), kernels.FullyConnected(depth=2), kernels.RBF(), kernels.RBF(2.0),
    kernels.RandomFeatures("convnet2", width=8), kernels.RandomFeatures("convnet2", width=9),
    ["fc1", kernels.RBF()], ["fc1", kernels.Laplace()],
    named, lambda key, images: images, lambda key, images: 2 * images,
    functools.partial(named, images=1), Changed(),
    augment.Flip(), augment.Shift(0.5), augment.Flip() >> named, ["flip", named],
    rows, rows + 1, (rows, rows[:, 0]), (rows, ["ant", "bee"]), np.array(["ant", None]),
    jnp.arange(5000.0), jnp.arange(5000.0).at[2500].set(0),
    np.random.RandomState(0), np.random.default_rng(0),
    StandardScaler(), StandardScaler(with_mean=False), RegularizedZCA(reg=0.1),
    make_pipeline(StandardScaler(), PCA(2)), FunctionTransformer(named), FunctionTransformer(),
    lambda key, images: jnp.sin(images), lambda key, images: jnp.cos(images),
    lambda key, images, scale=0.0: images, lambda key, images, scale=1.0: images,
    jax.jit(lambda x: x + 1), jax.jit(lambda x: x + 2), {"a": 1}, {"a": 2}, {1, 2}, {1, 3},
    lambda key, images: jax.vmap(lambda a: 2 * a)(images),
    lambda key, images: jax.vmap(lambda a: 3 * a)(images),
    augment.Compose((lambda key, images: images + 1,)),
    augment.Compose((lambda key, images: images + 2,)),
    optax.adam(0.1), optax.adam(0.2), optax.adabelief(0.1),
    optax.warmup_cosine_decay_schedule(0, 1, 5, 30),
]
"""


def test_descriptions_are_the_same_in_another_process():
    namespace = {"__name__": "values"}
    exec(VALUES, namespace)
    here = [describe(value) for value in namespace["VALUES"]]
    code = (
        "import json, sys; namespace = {'__name__': 'values'}; exec(sys.argv[1], namespace)\n"
        "from kipsk._storage._describe import describe\n"
        "print(json.dumps([describe(value) for value in namespace['VALUES']]))"
    )
    there = subprocess.run(
        [sys.executable, "-c", code, VALUES],
        env=ENVIRONMENT | {"PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(there.stdout) == here
    assert len(set(here)) == len(here)
    for name in ("values.<lambda><", "values.named<"):
        assert any(text.startswith(name) for text in here)


def test_descriptions_of_equal_values():
    assert describe(np.float64(0.5)) == describe(0.5)
    assert describe(np.int64(3)) == describe(3)
    array = np.arange(6.0).reshape(2, 3)
    assert describe(jax.numpy.asarray(array, "float32")) == describe(array.astype("float32"))
    used = np.random.RandomState(0)
    used.normal()
    assert describe(used) == describe(np.random.RandomState(5)) == "RandomState"


ROOT = str(Path(kipsk.__file__).parents[1])


ENVIRONMENT = os.environ | {"PYTHONPATH": ROOT}


def test_global_numbers_are_part_of_a_function():
    code = "def shift(key, images):\n    return (lambda x: x + SIZE)(images)"
    first, second = ({"__name__": "values", "SIZE": size} for size in (1.0, 2.0))
    for namespace in (first, second):
        exec(code, namespace)
    assert describe(first["shift"]) != describe(second["shift"])
