"""Random changes of rows that leave their class alone, drawn anew at every step.

An augmentation is a function ``(key, images) -> images`` of JAX arrays; the classes here are such
functions with parameters, and ``>>`` puts one after another:

>>> import jax
>>> from kipsk.augment import Flip, Shift
>>> augment = Flip() >> Shift(fraction=0.25)
>>> augment(jax.random.key(0), jax.numpy.ones((5, 8, 8, 3))).shape
(5, 8, 8, 3)

They are for standardised features: the zeros that fill what is free are then the mean. Numbers are
drawn for a whole batch at once, in float32: one key makes the same changes at every dtype.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax import Array

from kipsk._checks import check_integer, check_positive, refuse

__all__ = [
    "Augmentation",
    "ChannelShift",
    "Compose",
    "Crop",
    "Cutout",
    "Flip",
    "MixUp",
    "Noise",
    "Rotate",
    "Shift",
]

#: What is applied to a batch. All are hashable: compiled code depends on them.
Function = Callable[[Array, Array], Array]

_FUNCTIONS = "an Augmentation such as Flip(), or a hashable function (key, images) -> images"
_CHECKED_ROWS = 64  # rows that `check` looks at the values of


class Augmentation:
    """Base class: a change of a batch that each row goes through with chance `p`.

    To write one, derive a frozen dataclass (it has to be hashable) with a method `change`:

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Negative(Augmentation):
    ...     p: float = 0.5
    ...
    ...     def change(self, key, images):
    ...         return -images

    Attributes
    ----------
    p : float
        Chance, for each row of a batch, that it is changed; in [0, 1].
    """

    p: float = 1.0

    def __post_init__(self) -> None:
        self._set(p=_share(self._name, "p", self.p, zero=True))

    @property
    def needs_images(self) -> bool:
        """Whether rows (n, d) are refused, and only images (n, H, W, C) taken."""
        return False

    def change(self, key: Array, images: Array) -> Array:
        """Return all images changed, in the same shape and dtype."""
        raise NotImplementedError(f"{self._name} needs a method change(key, images).")

    def __call__(self, key: Array, images: Array) -> Array:
        """Return images, each changed with chance `p`.

        Parameters
        ----------
        key : Array
            A key of `jax.random`: the same key draws the same changes.
        images : Array of shape (n, H, W, C), or (n, d) if ``needs_images`` is False

        Returns
        -------
        images : Array
            In the same shape and dtype.
        """
        if self.needs_images and images.ndim != 4:
            raise ValueError(
                f"{self!r} must get images of shape (n, H, W, C). Got an array of shape "
                f"{images.shape} instead: pass image_shape=(H, W, C), which tells what the rows "
                "are."
            )
        key_change, key_p = jax.random.split(key)
        return _some(key_p, self.p, self.change(key_change, images), images)

    def with_targets(self, key: Array, images: Array, y: Array) -> tuple[Array, Array]:
        """Return the images and their targets y, which most augmentations leave as they are."""
        return self(key, images), y

    def __rshift__(self, second: Any) -> Compose:
        return _chain(self, second)

    def __rrshift__(self, first: Any) -> Compose:
        return _chain(first, self)

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _set(self, **values: Any) -> None:
        """Set fields of a frozen dataclass while it is made."""
        for name, value in values.items():
            object.__setattr__(self, name, value)


class _OfImages(Augmentation):
    @property
    def needs_images(self) -> bool:
        return True


@dataclass(frozen=True)
class Flip(_OfImages):
    """Mirror images left to right.

    Not for pictures that mean something else in a mirror, such as digits.

    Attributes
    ----------
    p : float, default=0.5
        Chance that an image is mirrored.
    """

    p: float = 0.5

    def change(self, key: Array, images: Array) -> Array:
        """Mirror all images."""
        return images[:, :, ::-1]


@dataclass(frozen=True)
class Shift(_OfImages):
    """Move images by whole pixels, up or down and left or right; zeros fill what is free.

    Attributes
    ----------
    fraction : float, default=0.125
        Moves go up to ``int(fraction * H)`` and ``int(fraction * W)`` pixels, every distance
        equally likely.
    p : float, default=1.0
        Chance that an image is moved.
    """

    fraction: float = 0.125
    p: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set(fraction=_share(self._name, "fraction", self.fraction))

    def change(self, key: Array, images: Array) -> Array:
        """Move all images."""
        n, *sides, _ = images.shape
        reach = [_pixels(self.fraction, side) for side in sides]
        down, right = (
            jax.random.randint(one, (n,), -far, far + 1, jnp.int32)
            for one, far in zip(jax.random.split(key), reach, strict=True)
        )
        return _shifted(images, down, right, reach)


@dataclass(frozen=True)
class Crop(_OfImages):
    """Cut a window out of images and resize it to the whole, bilinearly.

    Attributes
    ----------
    fraction : float, default=0.875
        The window's share of both sides is uniform in [fraction, 1], its place is uniform too.
    p : float, default=1.0
        Chance that an image is cropped.
    """

    fraction: float = 0.875
    p: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set(fraction=_share(self._name, "fraction", self.fraction))

    def change(self, key: Array, images: Array) -> Array:
        """Crop all images."""
        n, *sides, _ = images.shape
        key_share, key_place = jax.random.split(key)
        share = jax.random.uniform(key_share, (n,), jnp.float32, self.fraction, 1)
        place = jax.random.uniform(key_place, (n, 2), jnp.float32)
        free = (1 - share)[:, None] * jnp.array(sides, jnp.float32)
        return _cropped(images, share, place * free)


@dataclass(frozen=True)
class Rotate(_OfImages):
    """Rotate images about their centre, bilinearly; zeros fill what is free.

    Attributes
    ----------
    degrees : float, default=15
        Angles are uniform in [-degrees, degrees]; at most 180.
    p : float, default=1.0
        Chance that an image is rotated.
    """

    degrees: float = 15.0
    p: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        degrees = check_positive(self._name, "degrees", self.degrees)
        if degrees > 180:
            raise refuse(self._name, "degrees", "a number > 0 and <= 180", self.degrees)
        self._set(degrees=degrees)

    def change(self, key: Array, images: Array) -> Array:
        """Rotate all images."""
        most = math.radians(self.degrees)
        return _rotated(images, jax.random.uniform(key, images.shape[:1], jnp.float32, -most, most))


@dataclass(frozen=True)
class ChannelShift(_OfImages):
    """Add a number to each channel of each image: a change of brightness and of colour.

    Attributes
    ----------
    scale : float, default=0.1
        Deviation of these normal numbers, in units of the channel's deviation over the batch.
    p : float, default=1.0
        Chance that an image is changed.
    """

    scale: float = 0.1
    p: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set(scale=check_positive(self._name, "scale", self.scale))

    def change(self, key: Array, images: Array) -> Array:
        """Shift the channels of all images."""
        n, _, _, channels = images.shape
        normal = _normal(key, (n, 1, 1, channels), images.dtype)
        return images + self.scale * images.std(axis=(0, 1, 2)) * normal


@dataclass(frozen=True)
class Cutout(_OfImages):
    """Set a window of images to zero (DeVries and Taylor 2017, arXiv 1708.04552).

    Attributes
    ----------
    fraction : float, default=0.25
        The window's share of both sides, rounded down to whole pixels but at least one. It lies
        wholly inside of the image, all places are equally likely.
    p : float, default=1.0
        Chance that an image is changed.
    """

    fraction: float = 0.25
    p: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set(fraction=_share(self._name, "fraction", self.fraction))

    def change(self, key: Array, images: Array) -> Array:
        """Cut a window out of all images."""
        n, *sides, _ = images.shape
        inside = []
        for one, side in zip(jax.random.split(key), sides, strict=True):
            size = max(1, _pixels(self.fraction, side))
            start = jax.random.randint(one, (n, 1), 0, side - size + 1, jnp.int32)
            pixels = jnp.arange(side)
            inside.append((start <= pixels) & (pixels < start + size))
        window = inside[0][:, :, None] & inside[1][:, None, :]
        return jnp.where(window[..., None], 0, images)


@dataclass(frozen=True)
class Noise(Augmentation):
    """Add normal noise to every feature; for images and for rows of tables (jitter).

    Attributes
    ----------
    scale : float, default=0.1
        Deviation of the noise, in units of the feature's deviation over the batch.
    p : float, default=1.0
        Chance that a row is changed.
    """

    scale: float = 0.1
    p: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set(scale=check_positive(self._name, "scale", self.scale))

    def change(self, key: Array, images: Array) -> Array:
        """Add noise to all rows."""
        normal = _normal(key, images.shape, images.dtype)
        return images + self.scale * images.std(axis=0) * normal


@dataclass(frozen=True)
class MixUp(Augmentation):
    r"""Mix each row with another of the batch, and their targets in the same proportion.

    .. math:: x_i \to \lambda_i x_i + (1 - \lambda_i) x_j, \quad
        y_i \to \lambda_i y_i + (1 - \lambda_i) y_j, \quad
        \lambda_i \sim \mathrm{Beta}(\alpha, \alpha)

    (Zhang et al. 2018, arXiv 1710.09412), with one number and one partner j for each row. For
    images and for rows of tables. It changes targets, so it works by `with_targets` alone.

    Attributes
    ----------
    alpha : float, default=0.2
        Small numbers mix few rows by much.
    p : float, default=1.0
        Chance that a row is mixed.
    """

    alpha: float = 0.2
    p: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set(alpha=check_positive(self._name, "alpha", self.alpha))

    def __call__(self, key: Array, images: Array) -> Array:
        """Refuse: there are no targets to mix."""
        raise TypeError(
            f"{self!r} mixes the targets too, and got none: call with_targets(key, images, y), "
            "or use another augmentation where there are no targets."
        )

    def with_targets(self, key: Array, images: Array, y: Array) -> tuple[Array, Array]:
        """Return mixed images and targets.

        Parameters
        ----------
        key : Array
            A key of `jax.random`.
        images : Array of shape (n, ...)
        y : Array of shape (n, ...)
            Floating-point targets, such as one-hot rows.

        Returns
        -------
        images, y : Array
            In the same shapes and dtypes.
        """
        if not jnp.issubdtype(y.dtype, jnp.floating):
            raise ValueError(
                f"{self!r} must get floating-point targets, which can be mixed. Got dtype "
                f"{y.dtype} instead: pass one-hot rows, as floats."
            )
        n = len(images)
        key_share, key_partner, key_p = jax.random.split(key, 3)
        share = _symmetric_beta(key_share, self.alpha, n)
        # Any row but the row itself; a batch of one has no other.
        ahead = jax.random.randint(key_partner, (n,), 1, max(n, 2), jnp.int32)
        partner = (jnp.arange(n, dtype=jnp.int32) + ahead) % n

        def mixed(values: Array) -> Array:
            own = _over_rows(share, values).astype(values.dtype)
            return own * values + (1 - own) * values[partner]

        return _some(key_p, self.p, (mixed(images), mixed(y)), (images, y))


@dataclass(frozen=True)
class Compose(Augmentation):
    """Apply one augmentation after the other; ``Flip() >> Shift()`` makes one.

    Attributes
    ----------
    augmentations : tuple
        Augmentations, or functions ``(key, images) -> images``.
    p : float, default=1.0
        Chance that a row goes through them at all; each also has its own.
    """

    augmentations: tuple[Function, ...]
    p: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (isinstance(self.augmentations, list | tuple) and self.augmentations):
            rule = "a list or tuple of augmentations, and not empty"
            raise refuse(self._name, "augmentations", rule, self.augmentations)
        for one in self.augmentations:
            _check_function(self._name, "augmentations", one, f"a list, each of it {_FUNCTIONS}")
        self._set(augmentations=tuple(self.augmentations))

    @property
    def needs_images(self) -> bool:
        """Whether any of them refuses rows (n, d)."""
        return any(needs_images(one) for one in self.augmentations)

    def change(self, key: Array, images: Array) -> Array:
        """Return all images changed by one after the other."""
        for one, own_key in zip(self.augmentations, self._keys(key), strict=True):
            images = one(own_key, images)
        return images

    def with_targets(self, key: Array, images: Array, y: Array) -> tuple[Array, Array]:
        """Return images and targets changed by one after the other."""
        key_change, key_p = jax.random.split(key)
        new = images, y
        for one, own_key in zip(self.augmentations, self._keys(key_change), strict=True):
            new = _changed(one, own_key, *new)
        return _some(key_p, self.p, new, (images, y))

    def _keys(self, key: Array) -> Array:
        return jax.random.split(key, len(self.augmentations))


def get_augmentation(owner: str, augment: Any) -> Function | None:
    """Return the augmentation that a parameter `augment` of `owner` means.

    Parameters
    ----------
    owner : str
        The object whose parameter it is, for the messages.
    augment : None, str, Augmentation, callable or list of these
        A list is what `Compose` makes of it.

    Returns
    -------
    augmentation : callable or None
        Hashable.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    if augment is None:
        return None
    named = {"flip": Flip(), "flip_shift": Flip() >> Shift()}
    if isinstance(augment, str) and augment in named:
        return named[augment]
    rule = f"None, one of {list(named)}, {_FUNCTIONS}, or a list of these"
    if isinstance(augment, list | tuple):
        parts = [get_augmentation(owner, one) for one in augment]
        functions = tuple(part for part in parts if part is not None)
        if not functions or len(functions) < len(parts):
            raise refuse(owner, "augment", rule + " (not empty, without None)", augment)
        return Compose(functions)
    _check_function(owner, "augment", augment, rule)
    return cast(Function, augment)


def needs_images(augmentation: Function) -> bool:
    """Whether an augmentation refuses rows (n, d); of functions it is not known, hence False."""
    return bool(getattr(augmentation, "needs_images", False))


def apply(
    augmentation: Function, key: Array, X: Array, y: Array, image_shape: tuple[int, ...] | None
) -> tuple[Array, Array]:
    """Return rows and targets, changed at random.

    Parameters
    ----------
    augmentation : callable
        As `get_augmentation` returns it; its ``with_targets`` is called if it has one.
    key : Array
        A key of `jax.random`.
    X : Array of shape (n, d)
    y : Array of shape (n, ...)
        Targets.
    image_shape : tuple (H, W, C) or None
        What a row of X is; None if it is no image, and goes to the augmentation as it is.

    Returns
    -------
    X, y : Array
        In the same shapes and dtypes.

    Raises
    ------
    ValueError
        If the augmentation is for images and ``image_shape`` is None.
    """
    images = X if image_shape is None else X.reshape(len(X), *image_shape)
    images, y = _changed(augmentation, key, images, y)
    return images.reshape(X.shape), y


def check(
    owner: str, augmentation: Function, X: Any, y: Any, image_shape: tuple[int, ...] | None
) -> None:
    """Try an augmentation on data and refuse what would break, or spoil, the steps.

    Its shapes are those of all data, its values those of the first rows.

    Parameters
    ----------
    owner : str
        The object whose parameters ``augment`` and ``image_shape`` are, for the messages.
    augmentation : callable
        As `get_augmentation` returns it.
    X : array of shape (n, d)
    y : array of shape (n, ...)
        Targets.
    image_shape : tuple (H, W, C) or None

    Raises
    ------
    ValueError
        If JAX cannot trace the augmentation, or it changes shapes or dtypes, or it makes numbers
        that are not finite; or if ``image_shape`` does not fit, or is missing. Other errors that
        it raises pass through, with a note.
    """
    if image_shape is not None:
        _check_image_shape(owner, image_shape, X.shape[1])
        X = X.reshape(len(X), *image_shape)
    elif needs_images(augmentation):
        rule = f"(height, width, channels), which a row of X is, for augment={augmentation!r}"
        raise refuse(owner, "image_shape", rule, None)
    # Named, so that a setting of the user's does not change it.
    key = jax.random.key(0, impl="threefry2x32")
    before = jax.eval_shape(lambda *arrays: arrays, X, y)
    try:
        after = jax.eval_shape(partial(_changed, augmentation), key, X, y)
        values = _jitted(augmentation, key, X[:_CHECKED_ROWS], y[:_CHECKED_ROWS])
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
            f"key and images of shape {X.shape}."
        )
        raise
    for name, old, new in zip(("images", "targets"), before, after, strict=True):
        _check_same(owner, augmentation, name, old, new)
    for name, old, new in zip(("images", "targets"), (X, y), values, strict=True):
        if jnp.isfinite(old[:_CHECKED_ROWS]).all() and not jnp.isfinite(new).all():
            raise ValueError(
                f"The 'augment' parameter of {owner} must keep {name} finite. Got "
                f"{int((~jnp.isfinite(new)).sum())} numbers that are not, on "
                f"{len(new)} rows, from {augmentation!r}: look there for divisions by zero, "
                "and for roots and logarithms of negative numbers."
            )


def _check_same(owner: str, augmentation: Function, name: str, old: Any, new: Any) -> None:
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


def _check_image_shape(owner: str, image_shape: Any, n_features: int) -> None:
    """Refuse what is not the shape of images of this many numbers."""
    rule = f"(height, width, channels) with height * width * channels = {n_features}"
    if not (isinstance(image_shape, tuple | list) and len(image_shape) == 3):
        raise refuse(owner, "image_shape", rule, image_shape)
    sides = [check_integer(owner, "image_shape", n, minimum=1) for n in image_shape]
    if math.prod(sides) != n_features:
        raise refuse(owner, "image_shape", rule, image_shape)


def _check_function(owner: str, name: str, value: Any, rule: str) -> None:
    """Refuse what is not a function that compiled code can depend on."""
    error = refuse(owner, name, rule, value)
    if isinstance(value, type):
        raise ValueError(f"{error} Write it with brackets, such as {value.__name__}().")
    if not callable(value):
        raise error
    try:
        hash(value)
    except TypeError:
        raise ValueError(
            f"{error} It cannot be hashed: make it a function, or a dataclass with frozen=True "
            "whose fields are numbers, names and tuples."
        ) from None


def _share(owner: str, name: str, value: Any, *, zero: bool = False) -> float:
    """Return a share as float: at most 1, and more than 0 unless `zero`."""
    if not check_positive(owner, name, value, zero=zero) <= 1:
        raise refuse(owner, name, f"a number {'>=' if zero else '>'} 0 and <= 1", value)
    return float(value)


def _chain(first: Any, second: Any) -> Compose:
    """Return both as one, those that are chains already joined to a longer one."""
    if not (callable(first) and callable(second)):
        return NotImplemented
    parts: tuple[Function, ...] = ()
    for one in (first, second):
        is_chain = isinstance(one, Compose) and one.p == 1
        parts += one.augmentations if is_chain else (one,)
    return Compose(parts)


def _changed(augmentation: Function, key: Array, images: Array, y: Array) -> tuple[Array, Array]:
    """Return images and targets; plain functions change images alone."""
    if hasattr(augmentation, "with_targets"):
        images, y = augmentation.with_targets(key, images, y)
        return images, y
    return augmentation(key, images), y


_jitted = jax.jit(_changed, static_argnums=0)


def _over_rows(values: Array, like: Array) -> Array:
    """Return values (n,) in a shape that broadcasts over the rows of another array."""
    return values.reshape(-1, *[1] * (like.ndim - 1))


def _some(key: Array, p: float, new: Any, old: Any) -> Any:
    """Return the new rows of some arrays with chance p, the old ones else."""
    if p == 1:
        return new
    n = len(jax.tree.leaves(old)[0])
    chosen = jax.random.uniform(key, (n,), jnp.float32) < p
    return jax.tree.map(lambda a, b: jnp.where(_over_rows(chosen, a), a, b), new, old)


def _normal(key: Array, shape: tuple[int, ...], dtype: Any) -> Array:
    return jax.random.normal(key, shape, jnp.float32).astype(dtype)


def _symmetric_beta(key: Array, alpha: float, n: int) -> Array:
    r"""Return n numbers of Beta(alpha, alpha).

    ``1/2 + t / (2 sqrt(2 alpha + t^2))`` with t of Student's distribution of 2 alpha degrees of
    freedom, ``t^2 = 2 alpha (u^{-1/alpha} - 1) cos^2(2 pi v)`` with u and v uniform in [0, 1]
    (Bailey 1994, Math. Comp. 62, 779). `jax.random.beta` rejects in loops: it takes two seconds to
    compile and ten times as long.
    """
    u, v = jax.random.uniform(key, (2, n), jnp.float32)
    power = jnp.log(u) / alpha
    cos = jnp.cos(2 * jnp.pi * v)
    return jnp.clip(0.5 + 0.5 * cos / jnp.sqrt(cos**2 - jnp.exp(power) / jnp.expm1(power)), 0, 1)


def _pixels(fraction: float, side: int) -> int:
    """Return the whole pixels of a share; 0.29 * 100 is 28.999999999999996."""
    return int(fraction * side + 1e-9)


def _shifted(images: Array, down: Array, right: Array, reach: Sequence[int]) -> Array:
    """Return images moved by their pixels, of shape (n,) and at most `reach`."""
    padded = jnp.pad(images, [(0, 0), *((far, far) for far in reach), (0, 0)])

    def window(image: Array, down: Array, right: Array) -> Array:
        start = (reach[0] - down, reach[1] - right, jnp.zeros_like(down))
        return jax.lax.dynamic_slice(image, start, images.shape[1:])

    return jax.vmap(window)(padded, down, right)


def _cropped(images: Array, share: Array, start: Array) -> Array:
    """Return windows, of `share` (n,) of the sides and from `start` (n, 2) on, resized to all."""
    share, start = share.astype(images.dtype), start.astype(images.dtype)

    def resized(image: Array, share: Array, start: Array) -> Array:
        return jax.image.scale_and_translate(
            image, image.shape, (0, 1), jnp.stack([1 / share] * 2), -start / share, "linear"
        )

    return jax.vmap(resized)(images, share, start)


def _rotated(images: Array, angles: Array) -> Array:
    """Return images rotated counter-clockwise by angles (n,), in radians."""
    from dm_pix import flat_nd_linear_interpolate  # not at the top: only rotations need it

    height, width = images.shape[1:3]
    dtype = jnp.promote_types(images.dtype, jnp.float32)
    centre = (height - 1) / 2, (width - 1) / 2
    down = jnp.arange(height, dtype=dtype)[:, None] - centre[0]
    right = jnp.arange(width, dtype=dtype) - centre[1]
    angles = angles.astype(dtype)[:, None, None]
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    # Where each pixel comes from. Beyond the edge the nearest value counts: of a frame of zeros,
    # that is zero, with no step at the edge.
    rows, columns = cos * down + sin * right + centre[0], cos * right - sin * down + centre[1]
    framed = jnp.pad(images, [(0, 0), (1, 1), (1, 1), (0, 0)])
    # One channel after the other: `dm_pix.rotate` interpolates between channels too, and takes ten
    # times as long.
    by_channel = jax.vmap(flat_nd_linear_interpolate, in_axes=(-1, None), out_axes=-1)
    return jax.vmap(by_channel)(framed, jnp.stack([rows, columns], axis=1) + 1)
