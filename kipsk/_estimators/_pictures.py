"""Support rows as people look at them: in the units of X, as images, with captions."""

from __future__ import annotations

import base64
import html
import io
import math

import numpy as np
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.validation import check_is_fitted

from kipsk._checks import refuse
from kipsk._types import AnyArray, Estimator, Float64s, Given, Ints
from kipsk.architectures._layers import checked_shape

# The most images in a notebook's view of an estimator, and the most pixels of a side of each.
_MAX_THUMBNAILS = 30
_MAX_SIDE = 64


def known_image_shape(distiller: Estimator) -> tuple[int, ...] | None:
    """Return the image shape that a fitted distiller or its kernel was given, or None."""
    given = [distiller.image_shape]
    for kernel in getattr(distiller, "kernels_", [distiller.kernel_]):
        while kernel is not None and not isinstance(kernel, str):
            params = kernel.get_params()
            given.append(params.get("image_shape"))
            kernel = params.get("kernel")  # the one inside an `Invariant`
    return next((tuple(shape) for shape in given if shape is not None), None)


def before(transformer: Estimator, rows: AnyArray) -> AnyArray:
    """Return rows as they were before a fitted transformer or the steps of a fitted Pipeline.

    Raises
    ------
    ValueError
        If a transformer has no inverse.
    """
    if transformer is None or isinstance(transformer, str):  # "passthrough"
        return rows
    if hasattr(transformer, "steps"):
        for _, step in reversed(transformer.steps):
            rows = before(step, rows)
        return rows
    if hasattr(transformer, "fit_resample") and not hasattr(transformer, "transform"):
        return rows  # a sampler removes or adds rows and does not change their units
    one_way = (
        isinstance(transformer, FunctionTransformer)
        and transformer.func is not None
        and transformer.inverse_func is None  # its inverse_transform would change nothing
    )
    if one_way or not hasattr(transformer, "inverse_transform"):
        raise ValueError(
            "The way back to the units of X needs transformers with an inverse. Got "
            f"{transformer!r} instead, which has none: pass the distiller itself with "
            "space='kernel' to see the rows as the kernel does."
        )
    return np.asarray(transformer.inverse_transform(rows))


def in_space(owner: str, distiller: Estimator, rows: AnyArray, space: Given) -> AnyArray:
    """Return support rows in the units of X ("original") or as the kernel sees them ("kernel")."""
    if space not in ("original", "kernel"):
        raise refuse(owner, "space", "'original' or 'kernel'", space)
    if space == "kernel":
        return rows
    return before(getattr(distiller, "preprocess_", None), rows)


def is_shape_of(image_shape: tuple[int, ...] | None, n_features: int) -> bool:
    """Return whether a shape is known and rows of `n_features` can be images of this shape."""
    return image_shape is not None and math.prod(image_shape) == n_features


def as_images(
    owner: str,
    rows: AnyArray,
    image_shape: Given,
    vmin: float | None = None,
    vmax: float | None = None,
) -> Float64s:
    """Return rows as RGB images of shape (n, H, W, 3) with values from 0 to 1.

    Parameters
    ----------
    owner : str
        The class or function that errors name.
    rows : ndarray of shape (n, H * W * C)
    image_shape : tuple (H, W, C)
        C is 1 or 3.
    vmin, vmax : float or None
        The values that become 0 and 1. None takes the 1st and the 99th percentile of `rows`,
        because learned rows leave the range of pixels.

    Raises
    ------
    ValueError
        If `image_shape` is None or is not the shape of images that the rows can be.
    """
    n_features = rows.shape[1]
    if image_shape is None:
        raise ValueError(
            f"{owner} needs to know the shape of the images to draw them. Rows have {n_features} "
            "features: pass image_shape=(H, W, C), such as (32, 32, 3). If the rows are no images, "
            "SupportDisplay with kind='heatmap' draws them as a table."
        )
    shape = checked_shape(owner, "image_shape", image_shape, n_dims=(3,))
    if not is_shape_of(shape, n_features):
        rule = f"(height, width, channels) of images whose {n_features} values are a row"
        raise refuse(owner, "image_shape", rule, image_shape)
    if shape[2] not in (1, 3):
        rule = "(height, width, channels) with 1 or 3 channels, to be drawn"
        raise refuse(owner, "image_shape", rule, image_shape)
    low, high = np.percentile(rows, [1, 99])
    low, high = (low if vmin is None else vmin), (high if vmax is None else vmax)
    scaled = (np.asarray(rows, dtype=np.float64) - low) / ((high - low) or 1.0)
    images = np.clip(scaled, 0, 1).reshape(-1, *shape)
    return np.broadcast_to(images, (*images.shape[:3], 3))


def captions(y_s: AnyArray, classes: AnyArray | None) -> list[str]:
    """Return the class of each row's largest label as text, or its targets without classes."""
    if classes is not None:
        return [str(name) for name in classes[np.argmax(y_s, axis=1)]]
    targets = y_s.reshape(len(y_s), -1)
    return [
        " ".join(f"{value:.3g}" for value in row[:2]) + " ..." * (len(row) > 2) for row in targets
    ]


def evenly_spread(n: int, at_most: int) -> Ints:
    """Return at most `at_most` of the positions 0 to n - 1, evenly spread."""
    return np.unique(np.linspace(0, n - 1, min(n, at_most)).round().astype(np.intp))


def thumbnails(distiller: Estimator) -> str:
    """Return some support rows of a distiller as HTML with inline images.

    The text is empty if the distiller is not fitted, if the shape of the images is not known, or if
    matplotlib is not installed.
    """
    try:
        check_is_fitted(distiller, "predictor_")
        return _thumbnails(distiller)
    except Exception:  # the view in a notebook must not fail, whatever a transformer raises
        return ""


def _thumbnails(distiller: Estimator) -> str:
    shape = known_image_shape(distiller)
    if shape is None:
        return ""
    chosen = evenly_spread(len(distiller.X_s_), _MAX_THUMBNAILS)
    rows = in_space("thumbnails", distiller, distiller.X_s_[chosen], "original")
    images = as_images("thumbnails", rows, shape)
    step = -(-max(shape[:2]) // _MAX_SIDE)
    names = captions(distiller.y_s_[chosen], getattr(distiller, "classes_", None))
    pairs = zip(images, names, strict=True)
    figures = [_figure(image[::step, ::step], html.escape(name)) for image, name in pairs]
    n = len(distiller.X_s_)
    some = f"{len(chosen)} of {n}" if len(chosen) < n else str(n)
    return (
        '<div style="font:11px sans-serif;max-width:520px">'
        f'<div style="margin:4px 2px">{some} support rows</div>'
        f'<div style="display:flex;flex-wrap:wrap">{"".join(figures)}</div></div>'
    )


def _figure(image: Float64s, name: str) -> str:
    """Return an image with its caption, a text that is already escaped, as HTML."""
    from matplotlib.image import imsave

    buffer = io.BytesIO()
    imsave(buffer, np.ascontiguousarray(image), format="png")
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return (
        f'<figure title="{name}" style="margin:2px;width:44px;text-align:center">'
        f'<img src="data:image/png;base64,{data}" alt="{name}" '
        'style="width:40px;image-rendering:pixelated">'
        '<figcaption style="overflow:hidden;text-overflow:ellipsis;white-space:nowrap">'
        f"{name}</figcaption></figure>"
    )
