"""What an augmentation is, and one made of several."""

from __future__ import annotations

from dataclasses import dataclass

import jax
from jax import Array

from kipsk._checks import refuse
from kipsk._types import Given
from kipsk.augment._apply import Function, changed, check_function, check_share, needs_images
from kipsk.augment._pixels import some

#: What messages call an augmentation.
FUNCTIONS = "an Augmentation such as Flip(), or a hashable function (key, images) -> images"


class Augmentation:
    """Base class of augmentations: a change that each row of a batch undergoes with chance `p`.

    To write one, derive a frozen dataclass with a method `change`. It is frozen because it has to
    be hashable.

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
        Chance that a row of a batch is changed, in [0, 1].
    """

    p: float = 1.0

    def __post_init__(self) -> None:
        self._set(p=check_share(self._name, "p", self.p, zero=True))

    @property
    def needs_images(self) -> bool:
        """Whether it takes images (n, H, W, C) alone, and refuses rows (n, d)."""
        return False

    def change(self, key: Array, images: Array) -> Array:
        """Return all images changed.

        Parameters
        ----------
        key : Array
            A key of `jax.random`.
        images : Array of shape (n, H, W, C), or (n, d) if ``needs_images`` is False
            A batch.

        Returns
        -------
        images : Array
            In the same shape and dtype.
        """
        raise NotImplementedError(f"{self._name} needs a method change(key, images).")

    def __call__(self, key: Array, images: Array) -> Array:
        """Return images, each changed with chance `p`.

        Parameters
        ----------
        key : Array
            A key of `jax.random`: the same key draws the same changes.
        images : Array of shape (n, H, W, C), or (n, d) if ``needs_images`` is False
            A batch.

        Returns
        -------
        images : Array
            In the same shape and dtype.
        """
        if self.needs_images and images.ndim != 4:
            raise ValueError(
                f"{self!r} must get images of shape (n, H, W, C). Got an array of shape "
                f"{images.shape} instead: pass image_shape=(H, W, C), the shape of the image that "
                "a row is."
            )
        key_change, key_p = jax.random.split(key)
        return some(key_p, self.p, self.change(key_change, images), images)

    def with_targets(self, key: Array, images: Array, y: Array) -> tuple[Array, Array]:
        """Return the images and their targets y, which most augmentations leave as they are.

        Parameters
        ----------
        key : Array
            A key of `jax.random`.
        images : Array of shape (n, H, W, C), or (n, d) if ``needs_images`` is False
            A batch.
        y : Array of shape (n, ...)
            Its targets.

        Returns
        -------
        images, y : Array
            In the same shapes and dtypes.
        """
        return self(key, images), y

    def __rshift__(self, second: Given) -> Compose:
        return _chain(self, second)

    def __rrshift__(self, first: Given) -> Compose:
        return _chain(first, self)

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _set(self, **values: object) -> None:
        """Set fields of a frozen dataclass, from its ``__post_init__``."""
        for name, value in values.items():
            object.__setattr__(self, name, value)


class OfImages(Augmentation):
    """Base class of augmentations that take images alone."""

    @property
    def needs_images(self) -> bool:
        return True


@dataclass(frozen=True)
class Compose(Augmentation):
    """Apply one augmentation after the other; ``Flip() >> Shift()`` makes such an object.

    Parameters
    ----------
    augmentations : tuple
        Augmentations, or functions ``(key, images) -> images``.
    p : float, default=1.0
        Chance that a row goes through the augmentations at all. Each also has its own `p`.
    """

    augmentations: tuple[Function, ...]
    p: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (isinstance(self.augmentations, list | tuple) and self.augmentations):
            rule = "a list or tuple of augmentations, and not empty"
            raise refuse(self._name, "augmentations", rule, self.augmentations)
        for one in self.augmentations:
            check_function(self._name, "augmentations", one, f"a list, each of it {FUNCTIONS}")
        self._set(augmentations=tuple(self.augmentations))

    @property
    def needs_images(self) -> bool:
        """Whether any of the augmentations refuses rows (n, d)."""
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
            new = changed(one, own_key, *new)
        return some(key_p, self.p, new, (images, y))

    def _keys(self, key: Array) -> Array:
        return jax.random.split(key, len(self.augmentations))


def _chain(first: Given, second: Given) -> Compose:
    """Return one augmentation of both; the parts of a `Compose` become parts of the new one."""
    if not (callable(first) and callable(second)):
        return NotImplemented
    parts: tuple[Function, ...] = ()
    for one in (first, second):
        # Not a subclass, which does anything else with its parts.
        is_chain = type(one) is Compose and one.p == 1
        parts += one.augmentations if is_chain else (one,)
    return Compose(parts)
