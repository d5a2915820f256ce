"""Support rows to look at: back in their own units, as images, with captions."""

from __future__ import annotations

import base64
import html
import io
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.validation import check_is_fitted

from kipsk._checks import refuse
from kipsk.architectures._layers import checked_shape

# Images in a notebook's view of an estimator, and pixels of a side that each is thinned to.
_MAX_THUMBNAILS = 30
_MAX_SIDE = 64


def known_image_shape(distiller: Any) -> tuple[int, ...] | None:
    """Return the shape that a fitted distiller or its kernel was given, None if neither was."""
    given = [distiller.image_shape]
    for kernel in getattr(distiller, "kernels_", [distiller.kernel_]):
        while kernel is not None and not isinstance(kernel, str):
            params = kernel.get_params()
            given.append(params.get("image_shape"))
            kernel = params.get("kernel")  # of an `Invariant`
    return next((tuple(shape) for shape in given if shape is not None), None)


def before(transformer: Any, rows: NDArray[Any]) -> NDArray[Any]:
    """Return rows as they were before a fitted transformer, or before the steps of a Pipeline.

    Raises
    ------
    ValueError
        If there is no way back.
    """
    if transformer is None or isinstance(transformer, str):  # "passthrough"
        return rows
    if hasattr(transformer, "steps"):
        for _, step in reversed(transformer.steps):
            rows = before(step, rows)
        return rows
    if hasattr(transformer, "fit_resample") and not hasattr(transformer, "transform"):
        return rows  # a sampler takes rows out, or adds some
    one_way = (
        isinstance(transformer, FunctionTransformer)
        and transformer.func is not None
        and transformer.inverse_func is None  # its inverse_transform would return the rows
    )
    if one_way or not hasattr(transformer, "inverse_transform"):
        raise ValueError(
            "The way back to the units of X needs transformers with an inverse. Got "
            f"{transformer!r} instead, which has none: pass the distiller itself with "
            "space='kernel' to see the rows as the kernel does."
        )
    return np.asarray(transformer.inverse_transform(rows))


def in_space(owner: str, distiller: Any, rows: NDArray[Any], space: Any) -> NDArray[Any]:
    """Return support rows in the units of X ("original") or of the kernel."""
    if space not in ("original", "kernel"):
        raise refuse(owner, "space", "'original' or 'kernel'", space)
    if space == "kernel":
        return rows
    return before(getattr(distiller, "preprocess_", None), rows)


def is_shape_of(image_shape: Any, n_features: int) -> bool:
    """Return whether rows of so many features can be images of a shape that was given."""
    return image_shape is not None and math.prod(image_shape) == n_features


def as_images(
    owner: str,
    rows: NDArray[Any],
    image_shape: Any,
    vmin: float | None = None,
    vmax: float | None = None,
) -> NDArray[np.float64]:
    """Return rows as RGB images of shape (n, H, W, 3) with values from 0 to 1.

    Parameters
    ----------
    owner : str
    rows : ndarray of shape (n, H * W * C)
    image_shape : tuple (H, W, C)
        C is 1 or 3.
    vmin, vmax : float or None
        Values that become 0 and 1. None are the 1st and 99th percentile of all that is shown, as
        learned rows leave the range of pixels.

    Raises
    ------
    ValueError
        If the rows are not known to be such images.
    """
    n_features = rows.shape[1]
    if image_shape is None:
        raise ValueError(
            f"{owner} needs to know the images' shape to draw them. Rows have {n_features} "
            "features: pass image_shape=(H, W, C), such as (32, 32, 3). A table is drawn by "
            "SupportDisplay with kind='heatmap'."
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


def captions(y_s: NDArray[Any], classes: NDArray[Any] | None) -> list[str]:
    """Return the class of each label's largest entry, or the targets of each row, as text."""
    if classes is not None:
        return [str(name) for name in classes[np.argmax(y_s, axis=1)]]
    targets = y_s.reshape(len(y_s), -1)
    return [
        " ".join(f"{value:.3g}" for value in row[:2]) + " ..." * (len(row) > 2) for row in targets
    ]


def spread(n: int, at_most: int) -> NDArray[np.intp]:
    """Return at most so many of n positions, evenly spread over them."""
    return np.unique(np.linspace(0, n - 1, min(n, at_most)).round().astype(np.intp))


def thumbnails(distiller: Any) -> str:
    """Return some support rows as HTML with inline images; nothing if they cannot be drawn.

    For a distiller that knows the images' shape, where matplotlib is installed.
    """
    try:
        check_is_fitted(distiller, "predictor_")
        return _thumbnails(distiller)
    except Exception:  # a view in a notebook must not raise, whatever a transformer does
        return ""


def _thumbnails(distiller: Any) -> str:
    from matplotlib.image import imsave

    shape = known_image_shape(distiller)
    if shape is None:
        return ""
    chosen = spread(len(distiller.X_s_), _MAX_THUMBNAILS)
    rows = in_space("thumbnails", distiller, distiller.X_s_[chosen], "original")
    images = as_images("thumbnails", rows, shape)
    step = -(-max(shape[:2]) // _MAX_SIDE)
    names = captions(distiller.y_s_[chosen], getattr(distiller, "classes_", None))
    figures = []
    for image, name in zip(images, names, strict=True):
        buffer = io.BytesIO()
        imsave(buffer, np.ascontiguousarray(image[::step, ::step]), format="png")
        data = base64.b64encode(buffer.getvalue()).decode("ascii")
        name = html.escape(name)
        figures.append(
            f'<figure title="{name}" style="margin:2px;width:44px;text-align:center">'
            f'<img src="data:image/png;base64,{data}" alt="{name}" '
            'style="width:40px;image-rendering:pixelated">'
            '<figcaption style="overflow:hidden;text-overflow:ellipsis;white-space:nowrap">'
            f"{name}</figcaption></figure>"
        )
    n = len(distiller.X_s_)
    some = f"{len(chosen)} of {n}" if len(chosen) < n else str(n)
    return (
        '<div style="font:11px sans-serif;max-width:520px">'
        f'<div style="margin:4px 2px">{some} support rows</div>'
        f'<div style="display:flex;flex-wrap:wrap">{"".join(figures)}</div></div>'
    )
