"""Folders of images, one for each class, as rows; and rows as folders of images."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kipsk._checks import check_integer, check_rows, refuse
from kipsk._types import AnyArray, Given

# The most files that an error names.
_MAX_NAMED = 10

# Rows whose values differ by less are no pixels from 0 to 255.
_LEAST_RANGE = 32


class Folder(NamedTuple):
    """The images of a folder as rows: each row is a flattened image, channels last."""

    X: NDArray[np.uint8]  #: (n_images, H * W * C), pixels from 0 to 255
    y: NDArray[np.str_]  #: (n_images,), the names of the folders that the images are in
    image_shape: tuple[int, int, int]  #: (H, W, C)
    files: list[Path]  #: the file of each row


def load_folder(
    path: str | os.PathLike[str],
    *,
    size: int | tuple[int, int] | None = None,
    grey: bool = False,
) -> Folder:
    """Load a folder that has a folder of images for each class, such as ``photos/cat/1.jpg``.

    Needs Pillow (``pip install pillow``), and reads all formats that Pillow reads.

    Parameters
    ----------
    path : str or path-like
        The folder. Its own folders are the classes. Files that are no images by their ending,
        hidden files and hidden folders are not read, nor are folders inside the classes' folders.
    size : int or tuple (height, width), default=None
        The size in pixels to bring all images to: they are shrunk or enlarged until they cover it,
        and what is over at two sides is cut off. One number means a square. None takes images as
        they are; all must then have the same size.
    grey : bool, default=False
        False gives three channels, True one.

    Returns
    -------
    folder : Folder
        A named tuple (X, y, image_shape, files), sorted by class and file name.

    Raises
    ------
    ImportError
        If Pillow is not installed.
    ValueError
        If there is no such folder, if it has no folders, or images outside of them; if there is one
        class only, or a class without images; if images cannot be read; and if their sizes differ
        without a `size`. The message names the files.

    See Also
    --------
    to_images : Rows as a folder of images.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from kipsk.datasets import load_folder, to_images
    >>> rows = np.random.default_rng(0).integers(256, size=(4, 48))
    >>> photos = tempfile.mkdtemp()
    >>> files = to_images(rows, photos, (4, 4, 3), labels=["cat", "cat", "dog", "dog"])
    >>> X, y, image_shape, files = load_folder(photos)
    >>> X.shape, y.tolist(), image_shape
    ((4, 48), ['cat', 'cat', 'dog', 'dog'], (4, 4, 3))
    """
    pillow = _pillow("load_folder")
    height_width = _checked_size(size)
    if not isinstance(grey, bool | np.bool_):
        raise refuse("load_folder", "grey", "True or False", grey)
    root = Path(path)
    files = _files_of_classes(root, _endings(pillow))
    images, broken = [], []
    for file in files:
        try:
            images.append(_read(pillow, file, height_width, "L" if grey else "RGB"))
        except pillow.UnidentifiedImageError:
            broken.append(f"{file.relative_to(root)} (no image that Pillow knows)")
        except Exception as error:  # decoders raise errors of many kinds
            broken.append(f"{file.relative_to(root)} ({type(error).__name__}: {error})")
    if broken:
        raise ValueError(
            f"{len(broken)} of {len(files)} images in {os.fspath(path)!r} cannot be read: "
            f"{_some(broken)}. Remove these files, or replace them."
        )
    _check_sizes(root, files, images)
    shape = (*images[0].shape[:2], 1 if grey else 3)
    X = np.stack(images).reshape(len(images), -1)
    return Folder(X, np.array([file.parent.name for file in files]), shape, files)


def _pillow(owner: str) -> ModuleType:
    try:
        from PIL import Image, ImageOps  # noqa: F401  # ImageOps becomes an attribute of PIL
    except ImportError as error:
        raise ImportError(
            f"{owner} needs Pillow, which reads images: pip install pillow."
        ) from error
    import PIL

    return PIL


def _checked_size(size: Given) -> tuple[int, int] | None:
    """Return height and width, or None."""
    if size is None:
        return None
    if isinstance(size, tuple | list) and len(size) == 2:
        height, width = (
            check_integer("load_folder", "size", n, minimum=1, also=" or two of them") for n in size
        )
        return height, width
    also = ", (height, width) or None"
    side = check_integer("load_folder", "size", size, minimum=1, also=also)
    return side, side


def _endings(pillow: ModuleType) -> set[str]:
    """Return the endings of image files, such as ".jpg"."""
    known = pillow.Image.registered_extensions()
    return {ending for ending, kind in known.items() if kind in pillow.Image.OPEN}


def _files_of_classes(root: Path, endings: set[str]) -> list[Path]:
    """Return the images of all classes, sorted; raise ValueError if they are no training set."""
    if not root.is_dir():
        rule = "a folder with a folder of images for each class"
        raise refuse("load_folder", "path", rule, os.fspath(root))

    def entries(folder: Path) -> list[Path]:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))

    def images(folder: Path) -> list[Path]:
        inside = entries(folder)
        return [file for file in inside if file.suffix.lower() in endings and file.is_file()]

    where = f"The folder {os.fspath(root)!r} must have a folder of images for each class"
    outside = [file.name for file in images(root)]
    if outside:
        raise ValueError(
            f"{where}, such as {root.name}/cat/1.jpg. Got {len(outside)} images outside of such "
            f"folders: {_some(outside)}. Move each into the folder of its class."
        )
    classes = {folder.name: images(folder) for folder in entries(root) if folder.is_dir()}
    if not classes:
        raise ValueError(f"{where}, such as {root.name}/cat/1.jpg. It has no folders.")
    empty = [name for name, files in classes.items() if not files]
    if empty:
        raise ValueError(
            f"{where}. No images are in: {_some(empty)}. Remove these folders, or put images "
            "into them (those in deeper folders are not read; Pillow reads files that end in "
            f"{', '.join(sorted(endings & {'.bmp', '.gif', '.jpg', '.png', '.tif', '.webp'}))} "
            "and others)."
        )
    if len(classes) < 2:
        raise ValueError(
            f"{where}, and at least 2 classes. It has one folder only, {next(iter(classes))!r}: "
            "add one for another class, or pass the folder above it."
        )
    return [file for files in classes.values() for file in files]


def _read(
    pillow: ModuleType, file: Path, size: tuple[int, int] | None, mode: str
) -> NDArray[np.uint8]:
    """Return the pixels of a file, turned as the camera was held."""
    with pillow.Image.open(file) as image:
        if image.mode.startswith("I") or image.mode == "F":
            raise ValueError(
                f"its pixels are numbers of the kind {image.mode!r}, of which 8 bits would not "
                "hold all: save it with pixels from 0 to 255"
            )
        if size is not None:  # JPEG can be decoded smaller, many times faster; twice is ample
            image.draft(mode, (2 * max(size), 2 * max(size)))
        image = pillow.ImageOps.exif_transpose(image).convert(mode)
        if size is not None:
            image = pillow.ImageOps.fit(image, size[::-1])
        return np.asarray(image)


def _check_sizes(root: Path, files: list[Path], images: Sequence[AnyArray]) -> None:
    sizes = [image.shape[:2] for image in images]
    if len(set(sizes)) > 1:
        found = [
            f"{height} x {width} ({n} images, such as "
            f"{files[sizes.index((height, width))].relative_to(root)})"
            for (height, width), n in Counter(sizes).most_common()
        ]
        raise ValueError(
            f"All images must have the same size, or 'size' must be given. Got {len(found)} sizes, "
            f"height x width: {_some(found)}. Pass size=(height, width), such as size=32, to bring "
            "them all to that size."
        )


def _some(names: list[str]) -> str:
    """Return names as one text, and how many more there are than are shown."""
    more = len(names) - _MAX_NAMED
    return ", ".join(names[:_MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


def to_images(
    rows: ArrayLike,
    path: str | os.PathLike[str],
    image_shape: tuple[int, int, int],
    *,
    labels: ArrayLike | None = None,
    vmin: float | None = None,
    vmax: float | None = None,
) -> list[Path]:
    """Write rows as PNG images into a folder, one file a row.

    Needs Pillow (``pip install pillow``).

    Parameters
    ----------
    rows : array-like of shape (n_rows, H * W * C)
        Pixels, such as those of `load_folder`. Learned rows become pixels again by the
        ``inverse_transform`` of the transformers that the training rows went through. What is
        below `vmin` or above `vmax` becomes black or white.
    path : str or path-like
        A new or empty folder.
    image_shape : tuple (H, W, C)
        C is 1 or 3.
    labels : array-like of shape (n_rows,), default=None
        The class of each row, for a folder of each class, as `load_folder` reads them. None puts
        all files into `path` itself.
    vmin, vmax : float, default=None
        The values of black and white. None is 0 and 255, with an error if the rows are clearly no
        such pixels.

    Returns
    -------
    files : list of Path
        The file of each row.

    Raises
    ------
    ImportError
        If Pillow is not installed.
    ValueError
        If a parameter breaks its rule, if the folder has files, or if the rows are no pixels.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from kipsk.datasets import load_images, to_images
    >>> digits = load_images("digits", standardize=None)
    >>> folder = Path(tempfile.mkdtemp()) / "digits"
    >>> files = to_images(
    ...     digits.X_train[:3],
    ...     folder,
    ...     digits.image_shape,
    ...     labels=digits.y_train[:3],
    ...     vmax=16,
    ... )
    >>> files[0].relative_to(folder).as_posix()
    '6/0.png'
    """
    pillow = _pillow("to_images")
    X = check_rows("rows", rows)
    shape = _checked_shape(image_shape, X.shape[1])
    pixels = _as_pixels(X, vmin, vmax).reshape(-1, *shape)
    names = _folder_names(labels, len(X))
    root = Path(path)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise refuse("to_images", "path", "a new or empty folder", os.fspath(path))
    n_digits = len(str(len(X) - 1))
    files = []
    for number, (image, name) in enumerate(zip(pixels, names, strict=True)):
        file = root / name / f"{number:0{n_digits}}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        pillow.Image.fromarray(image[..., 0] if shape[2] == 1 else image).save(file)
        files.append(file)
    return files


def _checked_shape(image_shape: Given, n_features: int) -> tuple[int, int, int]:
    rule = f"(height, width, 1 or 3) of images whose {n_features} values are a row"
    try:
        shape = tuple(int(n) for n in image_shape)
    except (TypeError, ValueError):
        raise refuse("to_images", "image_shape", rule, image_shape) from None
    if len(shape) != 3 or min(shape) < 1 or shape[2] not in (1, 3) or np.prod(shape) != n_features:
        raise refuse("to_images", "image_shape", rule, image_shape)
    return shape


def _as_pixels(X: AnyArray, vmin: float | None, vmax: float | None) -> NDArray[np.uint8]:
    """Return rows as pixels from 0 to 255."""
    low, high = (0 if vmin is None else vmin), (255 if vmax is None else vmax)
    if not low < high:
        raise refuse("to_images", "vmax", f"above vmin, {low}", vmax)
    if not (X.dtype.kind in "biuf" and np.isfinite(X).all()):
        raise ValueError(
            "to_images needs rows of finite numbers. Got NaN, infinity or objects that are no "
            "numbers."
        )
    is_told = vmin is not None or vmax is not None or X.dtype == np.uint8
    if not is_told and np.ptp(X) < _LEAST_RANGE:
        raise ValueError(
            "to_images needs rows of pixels from 0 to 255. Got values from "
            f"{X.min():.3g} to {X.max():.3g}: take the rows back through the transformers, such as "
            "pipeline[:-1].inverse_transform(X_s), or say which values are black and white with "
            "vmin=... and vmax=..."
        )
    scaled = (X.astype(np.float64) - low) * (255 / (high - low))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def _folder_names(labels: Given, n_rows: int) -> list[str]:
    """Return the folder of each row."""
    if labels is None:
        return n_rows * [""]
    classes = np.asarray(labels)
    if classes.shape != (n_rows,):
        raise refuse("to_images", "labels", f"None or one class for each of {n_rows} rows", classes)
    names = [str(name) for name in classes.tolist()]
    for name in names:
        if not name or name.startswith(".") or set(name) & set("/\\:\0"):
            rule = "classes whose names can be those of folders"
            raise refuse("to_images", "labels", rule, name)
    return names
