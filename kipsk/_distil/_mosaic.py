"""Support rows that share their storage: each stored image is a mosaic of smaller ones."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array


@dataclass(frozen=True)
class Mosaic:
    """``factor^2`` images in the storage of one, which the kernel sees enlarged.

    The parameterisation of Kim et al. 2022 ("Dataset condensation via efficient synthetic-data
    parameterization", arXiv 2205.14959, section 4.1).

    Attributes
    ----------
    shape : tuple (H, W, C)
        Of an image.
    factor : int
        Images along each side of a mosaic; a divisor of H and of W.
    """

    shape: tuple[int, int, int]
    factor: int

    @property
    def n_tiles(self) -> int:
        """How many images one mosaic holds."""
        return self.factor**2

    def enlarged(self, stored: Array) -> Array:
        """Return the images of mosaics, enlarged by linear interpolation, those of one together.

        Parameters
        ----------
        stored : Array of shape (n, H * W * C)

        Returns
        -------
        X : Array of shape (n * factor^2, H * W * C)
        """
        f, (height, breadth, channels) = self.factor, self.shape
        tiles = stored.reshape(len(stored), f, height // f, f, breadth // f, channels)
        tiles = tiles.swapaxes(2, 3).reshape(-1, height // f, breadth // f, channels)
        images = jax.image.resize(tiles, (len(tiles), *self.shape), "linear")
        return images.reshape(len(tiles), -1)

    def stored(self, X: Array) -> Array:
        """Return mosaics of images, each made smaller: means over windows of its pixels.

        Parameters
        ----------
        X : Array of shape (n * factor^2, H * W * C)

        Returns
        -------
        stored : Array of shape (n, H * W * C)
        """
        f, (height, breadth, channels) = self.factor, self.shape
        windows = X.reshape(len(X), height // f, f, breadth // f, f, channels)
        tiles = jnp.mean(windows, axis=(2, 4))
        tiles = tiles.reshape(-1, f, f, height // f, breadth // f, channels).swapaxes(2, 3)
        return tiles.reshape(len(X) // f**2, -1)
