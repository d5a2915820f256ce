"""How augmentations are checked, tried on data, and applied to rows and targets."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from kipsk._checks import check_integer, check_positive, refuse
from kipsk._types import Floats, Given, PyTree

#: Rows on the host or on the device.
Rows = Array | Floats

#: A change of a batch, ``(key, images) -> images``; hashable, because code is compiled for it.
Function = Callable[[Array, Array], Array]

_CHECKED_ROWS = 64  # rows that `check` tries an augmentation on


def needs_images(augmentation: Function) -> bool:
    """Whether an augmentation refuses rows (n, d); False for functions, of which nobody knows."""
    return bool(getattr(augmentation, "needs_images", False))


def apply(
    augmentation: Function, key: Array, X: Array, y: Array, image_shape: tuple[int, ...] | None
) -> tuple[Array, Array]:
    """Return rows and targets that an augmentation has changed at random.

    Parameters
    ----------
    augmentation : callable
        From `get_augmentation`. If it has a method ``with_targets``, that is called.
    key : Array
        A key of `jax.random`.
    X : Array of shape (n, d)
    y : Array of shape (n, ...)
        Targets.
    image_shape : tuple (H, W, C) or None
        The shape of the image that a row of X is. With None the augmentation gets the rows as they
        are.

    Returns
    -------
    X, y : Array
        In the same shapes and dtypes.

    Raises
    ------
    ValueError
        If the augmentation needs images and ``image_shape`` is None.
    """
    images = X if image_shape is None else X.reshape(len(X), *image_shape)
    images, y = changed(augmentation, key, images, y)
    return images.reshape(X.shape), y


def changed(augmentation: Function, key: Array, images: Array, y: Array) -> tuple[Array, Array]:
    """Return the changed images and targets; a plain function leaves targets as they are."""
    if hasattr(augmentation, "with_targets"):
        images, y = augmentation.with_targets(key, images, y)
        return images, y
    return augmentation(key, images), y


_jitted = jax.jit(changed, static_argnums=0)


def check(
    owner: str, augmentation: Function, X: Rows, y: Rows, image_shape: tuple[int, ...] | None
) -> None:
    """Try an augmentation on the first 64 rows; refuse one that would break or spoil the steps.

    The shapes in the messages are those of these rows.

    Parameters
    ----------
    owner : str
        The object that has the parameters ``augment`` and ``image_shape``; messages name it.
    augmentation : callable
        From `get_augmentation`.
    X : array of shape (n, d)
        All rows, of which only the first are brought to the device.
    y : array of shape (n, ...)
        Targets.
    image_shape : tuple (H, W, C) or None

    Raises
    ------
    ValueError
        If JAX cannot trace the augmentation, if it changes shapes or dtypes or returns numbers that
        are not finite, or if ``image_shape`` is missing or does not fit. Other errors of the
        augmentation pass through, with a note.
    """
    images, targets = (jnp.asarray(rows[:_CHECKED_ROWS]) for rows in (X, y))
    if image_shape is not None:
        _check_image_shape(owner, image_shape, X.shape[1])
        images = images.reshape(len(images), *image_shape)
    elif needs_images(augmentation):
        rule = f"(height, width, channels) of the images in X's rows, for augment={augmentation!r}"
        raise refuse(owner, "image_shape", rule, None)
    # The generator is named because users can change JAX's default.
    key = jax.random.key(0, impl="threefry2x32")
    try:
        after = jax.eval_shape(partial(changed, augmentation), key, images, targets)
        values = _jitted(augmentation, key, images, targets)
    except (jax.errors.JAXTypeError, jax.errors.JAXIndexError) as error:
        raise ValueError(
            f"The 'augment' parameter of {owner} must be a function that JAX can compile. Got "
            f"{augmentation!r}, which treats its images as numbers that are known "
            f"({type(error).__name__}): write it with jax.numpy in place of numpy, jnp.where in "
            "place of `if`, and jax.random with the key that it gets."
        ) from error
    except Exception as error:
        error.add_note(
            f"It was raised by {augmentation!r}, the 'augment' parameter of {owner}, called with a "
            f"key and images of shape {images.shape}."
        )
        raise
    before, names = (images, targets), ("images", "targets")
    for name, old, shape in zip(names, before, after, strict=True):
        _check_same(owner, augmentation, name, old, shape)
    for name, old, new in zip(names, before, values, strict=True):
        if jnp.isfinite(old).all() and not jnp.isfinite(new).all():
            raise ValueError(
                f"The 'augment' parameter of {owner} must keep {name} finite. Got "
                f"{int((~jnp.isfinite(new)).sum())} numbers that are not, on the first {len(new)} "
                f"rows, from {augmentation!r}: look there for divisions by zero, and for roots and "
                "logarithms of negative numbers."
            )


def _check_same(owner: str, augmentation: Function, name: str, old: Array, new: PyTree) -> None:
    """Refuse an output that is not an array of the input's shape and dtype."""
    must = f"The 'augment' parameter of {owner} must return {name} of the shape and dtype it gets"
    if not isinstance(new, jax.ShapeDtypeStruct):
        raise ValueError(
            f"{must}. Got {type(new).__name__} from {augmentation!r} instead of an array: return "
            "the changed images alone."
        )
    if new.shape != old.shape:
        raise ValueError(
            f"{must}, {old.shape}. Got shape {new.shape} from {augmentation!r} instead: pad, crop "
            "or resize at its end."
        )
    if new.dtype != old.dtype:
        raise ValueError(
            f"{must}, {old.dtype}. Got dtype {new.dtype} from {augmentation!r} instead: end it "
            "with .astype(images.dtype)."
        )


def _check_image_shape(owner: str, image_shape: Given, n_features: int) -> None:
    """Refuse anything but the shape of images that have `n_features` numbers."""
    rule = f"(height, width, channels) with height * width * channels = {n_features}"
    if not (isinstance(image_shape, tuple | list) and len(image_shape) == 3):
        raise refuse(owner, "image_shape", rule, image_shape)
    sides = [check_integer(owner, "image_shape", n, minimum=1) for n in image_shape]
    if math.prod(sides) != n_features:
        raise refuse(owner, "image_shape", rule, image_shape)


def check_function(owner: str, name: str, value: Given, rule: str) -> None:
    """Refuse anything but a function that code can be compiled for, hence a hashable one."""
    error = refuse(owner, name, rule, value)
    if isinstance(value, type):
        raise ValueError(f"{error} Write it with brackets, such as {value.__name__}().")
    if not callable(value):
        raise error
    try:
        hash(value)
    except TypeError:
        raise ValueError(
            f"{error} This object cannot be hashed: make it a function, or a dataclass with "
            "frozen=True whose fields are numbers, names and tuples."
        ) from None


def check_share(owner: str, name: str, value: Given, *, zero: bool = False) -> float:
    """Return a share as float; it is at most 1, and more than 0 unless `zero` is allowed."""
    if not check_positive(owner, name, value, zero=zero) <= 1:
        raise refuse(owner, name, f"a number {'>=' if zero else '>'} 0 and <= 1", value)
    return float(value)
