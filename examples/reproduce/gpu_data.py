"""Image sets in parts that are small enough to be sent, and back: lossless, a third of the size.

    python examples/reproduce/gpu_data.py pack DIR PARTS --sets fashion_mnist cifar10 --most 60
    python examples/reproduce/gpu_data.py unpack PARTS/cifar10_1.zip PARTS/cifar10_2.zip DIR

`pack` reads DIR/NAME.npz (x_train, y_train, x_test, y_test, see kipsk.datasets) and writes
PARTS/NAME_1.zip, NAME_2.zip and so on, each of `--most` MiB at most: Fashion-MNIST fits in one,
CIFAR-10 in two. `unpack` takes parts in any order, also one at a time, and writes DIR/NAME.npz when
it has all of a set. Needs pillow.
"""

import argparse
import io
import json
import shutil
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

MIB = 2**20
COLUMNS, ROWS = 25, 40  # images of a sheet; WebP's sides have 16383 pixels at most
ROW_SHAPES = {784: (28, 28, 1), 3072: (32, 32, 3)}  # images that are rows
CONTENTS = "contents.json"


class Member(NamedTuple):
    """A file of a part."""

    name: str
    content: bytes


def image_shape(shape):
    """Return (H, W, C) of an array of images, or None if it has none of 1 or 3 channels."""
    if len(shape) == 4 and shape[3] in (1, 3):
        return tuple(shape[1:])
    if len(shape) == 3:
        return (*shape[1:], 1)
    return ROW_SHAPES.get(shape[1]) if len(shape) == 2 else None


def sheet(images):
    """Return images (n, H, W, C) side by side as a lossless WebP, black where some are missing."""
    n, height, width, channels = images.shape
    rows = -(-n // COLUMNS)
    full = np.zeros((rows * COLUMNS, height, width, channels), np.uint8)
    full[:n] = images
    tiles = full.reshape(rows, COLUMNS, height, width, channels).transpose(0, 2, 1, 3, 4)
    pixels = tiles.reshape(rows * height, COLUMNS * width, channels)
    if channels == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", lossless=True, quality=60, method=4, exact=True)
    return file.getvalue()


def from_sheet(content, n, shape):
    """Return the first n images of a sheet."""
    height, width, channels = shape
    pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))[:, :, :channels]
    tiles = pixels.reshape(-1, height, COLUMNS, width, channels).transpose(0, 2, 1, 3, 4)
    return tiles.reshape(-1, *shape)[:n]


def members_of(name, arrays):
    """Return the files of a set, and what is needed to put them together again."""
    members, contents = [], {}
    for key, array in arrays.items():
        shape = image_shape(array.shape) if array.ndim > 1 else None
        if shape is None or array.dtype != np.uint8:
            file = io.BytesIO()
            np.savez_compressed(file, array=array)
            members.append(Member(f"{key}.npz", file.getvalue()))
            contents[key] = {"files": [f"{key}.npz"]}
            continue
        images, per_sheet, files = array.reshape(-1, *shape), COLUMNS * ROWS, []
        for start in range(0, len(images), per_sheet):
            files.append(f"{key}_{start // per_sheet:03}.webp")
            members.append(Member(files[-1], sheet(images[start : start + per_sheet])))
        contents[key] = {"files": files, "shape": array.shape, "image_shape": shape}
    return members, {"name": name, "arrays": contents}


def pack(folder, out, names, most):
    """Write the parts of some sets; return their paths."""
    paths = []
    for name in names:
        source = Path(folder) / f"{name}.npz"
        if not source.exists():
            raise SystemExit(f"There is no {source}: put the set there (see kipsk.datasets).")
        with np.load(source, allow_pickle=False) as file:
            members, contents = members_of(name, dict(file))
        for number, group in enumerate(groups(members, most * MIB, name), 1):
            path = Path(out) / f"{name}_{number}.zip"
            path.parent.mkdir(parents=True, exist_ok=True)
            with zipfile.ZipFile(path, "w") as file:  # not deflated: the members are
                file.writestr(CONTENTS, json.dumps(contents))
                for member in group:
                    file.writestr(member.name, member.content)
            print(f"{path}: {path.stat().st_size / MIB:.1f} MiB", flush=True)
            paths.append(path)
    return paths


def groups(members, most, name):
    """Return members in groups of so many bytes, with a hundredth for what a zip adds."""
    result, size = [[]], 0
    for member in members:
        own = len(member.content) + MIB // 100
        if own > 0.98 * most:
            least = f"{own / MIB / 0.98:.2f}"
            raise SystemExit(f"--most must be at least {least} for {member.name} of {name}.")
        if size + own > 0.98 * most:
            result.append([])
            size = 0
        result[-1].append(member)
        size += own
    return result


def unpack(parts, folder):
    """Unpack parts, and write each set that is whole; return the paths of these."""
    done = []
    for part in parts:
        try:
            with zipfile.ZipFile(part) as file:
                contents = json.loads(file.read(CONTENTS))
                waiting = Path(folder) / f"{contents['name']}.parts"
                file.extractall(waiting)
        except (zipfile.BadZipFile, KeyError, FileNotFoundError) as error:
            raise SystemExit(f"{part} is no part that pack has written: {error}") from None
        needed = [name for array in contents["arrays"].values() for name in array["files"]]
        missing = [name for name in needed if not (waiting / name).exists()]
        if missing:
            print(f"{contents['name']}: {len(missing)} of {len(needed)} files are in other parts")
            continue
        path = waiting.with_suffix(".npz")
        np.savez(path, **{key: joined(waiting, a) for key, a in contents["arrays"].items()})
        shutil.rmtree(waiting)
        print(path)
        done.append(path)
    return done


def joined(folder, array):
    """Return an array from its files."""
    files = [folder / name for name in array["files"]]
    if "shape" not in array:
        with np.load(files[0], allow_pickle=False) as file:
            return file["array"]
    left, images = array["shape"][0], []
    for file in files:
        images.append(
            from_sheet(file.read_bytes(), min(left, COLUMNS * ROWS), array["image_shape"])
        )
        left -= len(images[-1])
    return np.concatenate(images).reshape(array["shape"])


def options():
    result = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = result.add_subparsers(dest="what", required=True)
    packing = what.add_parser("pack", help="write parts of sets")
    packing.add_argument("folder", metavar="DIR", help="with NAME.npz")
    packing.add_argument("out", metavar="PARTS", help="folder for the parts")
    packing.add_argument("--sets", nargs="+", default=["fashion_mnist", "cifar10"], metavar="NAME")
    packing.add_argument("--most", type=float, default=60, help="MiB of a part (default: 60)")
    unpacking = what.add_parser("unpack", help="write sets from their parts")
    unpacking.add_argument("parts", nargs="+", metavar="PART.zip")
    unpacking.add_argument("folder", metavar="DIR", help="for NAME.npz")
    return result


def main(given=None):
    arguments = options().parse_args(given)
    if arguments.what == "pack":
        pack(arguments.folder, arguments.out, arguments.sets, arguments.most)
    else:
        unpack(arguments.parts, arguments.folder)


if __name__ == "__main__":
    sys.exit(main())
