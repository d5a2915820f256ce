"""load_folder and to_images: folders of images and back. Oracle: Pillow, or the pixels written."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from kipsk.datasets import load_folder, to_images

RNG = np.random.default_rng(0)


def save(file, height=6, width=8, pixels=None, **options):
    """Save an image, by default of noise; return its pixels."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if pixels is None:
        pixels = RNG.integers(256, size=(height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, **options)
    return pixels


@pytest.fixture
def photos(tmp_path):
    """The folder, and the pixels of its images in the order of classes and names."""
    names = ["cat/10.png", "cat/2.PNG", "dog/a.bmp", "dog/b.png", "dog/c.tif"]
    return tmp_path / "photos", [save(tmp_path / "photos" / name) for name in names]


# --- reading -------------------------------------------------------------------------------------


def test_rows_labels_and_shape(photos):
    root, pixels = photos
    (root / "dog" / "notes.txt").write_text("good dog")
    (root / "dog" / ".DS_Store").write_text("")
    (root / ".git").mkdir()
    save(root / "dog" / "deeper" / "x.png")
    X, y, image_shape, files = load_folder(root)
    assert_array_equal(X, np.stack(pixels).reshape(5, -1))
    assert X.dtype == np.uint8
    assert y.tolist() == ["cat", "cat", "dog", "dog", "dog"]
    assert image_shape == (6, 8, 3)
    assert [file.name for file in files] == ["10.png", "2.PNG", "a.bmp", "b.png", "c.tif"]
    assert_array_equal(load_folder(str(root)).X, X)


def test_grey(photos):
    root, pixels = photos
    X, _, image_shape, _ = load_folder(root, grey=True)
    expected = [np.asarray(Image.fromarray(image).convert("L")) for image in pixels]
    assert image_shape == (6, 8, 1)
    assert_array_equal(X, np.stack(expected).reshape(5, -1))


def test_modes_of_files(photos):
    """A palette, an alpha channel, one bit: pixels as Pillow converts them."""
    root, _ = photos
    image = Image.fromarray(RNG.integers(256, size=(6, 8, 3), dtype=np.uint8))
    for mode in ("P", "RGBA", "1", "L", "CMYK"):
        ending = "tif" if mode == "CMYK" else "png"
        image.convert(mode).save(root / "cat" / f"{mode}.{ending}")
    folder = load_folder(root)
    for row, file in zip(folder.X, folder.files, strict=True):
        with Image.open(file) as opened:
            assert_array_equal(row.reshape(6, 8, 3), np.asarray(opened.convert("RGB")))


@pytest.mark.parametrize("size, shape", [(4, (4, 4, 3)), ((3, 4), (3, 4, 3)), ([9, 5], (9, 5, 3))])
def test_size(size, shape, photos):
    root, _ = photos
    save(root / "cat" / "wide.png", 5, 20)
    assert load_folder(root, size=size).image_shape == shape


def test_what_is_over_is_cut_off_at_two_sides(tmp_path):
    wide = np.zeros((4, 12, 3), np.uint8)
    wide[:, 4:8] = [10, 20, 30]
    for name in "ab":
        save(tmp_path / name / "1.png", pixels=wide)
    X, _, _, _ = load_folder(tmp_path, size=4)
    assert_array_equal(X.reshape(2, 4, 4, 3), np.broadcast_to([10, 20, 30], (2, 4, 4, 3)))


def test_large_jpeg_is_decoded_smaller(tmp_path):
    """Oracle: all of it, shrunk by Pillow."""
    ramp = np.add.outer(np.arange(800), np.arange(900))[..., None] // 7 + np.array([0, 5, 10])
    for name in "ab":
        save(tmp_path / name / "1.jpg", pixels=ramp.astype(np.uint8), quality=95)
    X, _, _, files = load_folder(tmp_path, size=16)
    with Image.open(files[0]) as image:
        whole = np.asarray(image.convert("RGB"))[:, 50:850]
    expected = whole.reshape(16, 50, 16, 50, 3).mean((1, 3))
    assert_allclose(X[0].reshape(16, 16, 3), expected, atol=3)


def test_photographs_are_turned_as_the_camera_was_held(photos):
    root, _ = photos
    pixels = RNG.integers(256, size=(8, 6, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    save(root / "cat" / "turned.png", pixels=pixels, exif=exif)
    folder = load_folder(root)
    row = folder.X[[file.name for file in folder.files].index("turned.png")]
    assert_array_equal(row.reshape(6, 8, 3), np.rot90(pixels, -1))


# --- what is refused -----------------------------------------------------------------------------


def refusal(root, **params):
    with pytest.raises(ValueError) as raised:
        load_folder(root, **params)
    return str(raised.value)


def test_no_folder(tmp_path):
    message = refusal(tmp_path / "phtos")
    assert "The 'path' parameter of load_folder must be a folder" in message
    assert "phtos' instead" in message


def test_empty_folder(tmp_path):
    message = refusal(tmp_path)
    assert "must have a folder of images for each class" in message and "has no folders" in message


def test_classes_without_images(photos):
    root, _ = photos
    (root / "fish").mkdir()
    save(root / "train" / "cat" / "1.png")
    message = refusal(root)
    assert "No images are in: fish, train. Remove these folders" in message and ".png" in message


def test_images_outside_of_classes(photos):
    root, _ = photos
    save(root / "stray.png")
    message = refusal(root)
    assert "photos/cat/1.jpg. Got 1 images outside of such folders: stray.png. Move" in message


def test_one_class(tmp_path):
    save(tmp_path / "cat" / "1.png")
    message = refusal(tmp_path)
    assert "at least 2 classes. It has one folder only, 'cat': add one" in message


def test_mixed_sizes(photos):
    root, _ = photos
    save(root / "dog" / "d.png", 9, 7)
    message = refusal(root)
    assert "Got 2 sizes, height x width: 6 x 8 (5 images, such as " in message
    assert "10.png), 9 x 7 (1 images, such as " in message and "d.png). Pass size=" in message


def test_broken_files_are_all_named(photos):
    root, _ = photos
    (root / "cat" / "text.jpg").write_text("no image")
    whole = (root / "dog" / "b.png").read_bytes()
    (root / "dog" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (root / "dog" / "empty.png").touch()
    deep = RNG.integers(2**16, size=(6, 8), dtype=np.uint16)
    save(root / "dog" / "sixteen.png", pixels=deep)
    message = refusal(root)
    assert "4 of 9 images in" in message and message.endswith(
        "Remove these files, or replace them."
    )
    for part in ("text.jpg (", "cut.png (", "empty.png (", "sixteen.png (", "pixels from 0 to 255"):
        assert part in message
    assert "10.png" not in message and str(root / "dog") not in message


def test_of_many_broken_files_some_are_named(tmp_path):
    for number in range(15):
        (tmp_path / "ab"[number % 2]).mkdir(exist_ok=True)
        (tmp_path / "ab"[number % 2] / f"{number}.png").touch()
    message = refusal(tmp_path)
    assert "15 of 15 images" in message and " and 5 more. Remove" in message


@pytest.mark.parametrize("size", [0, -3, 2.5, "32", (3,), (3, 4, 5), (3, 0), True])
def test_bad_size(size, photos):
    assert "The 'size' parameter of load_folder must be an integer >= 1" in refusal(
        photos[0], size=size
    )


def test_bad_grey(photos):
    assert "The 'grey' parameter of load_folder must be True or False" in refusal(
        photos[0], grey="L"
    )


@pytest.mark.parametrize(
    "action", [lambda path: load_folder(path), lambda path: to_images([[1]], path, (1, 1, 1))]
)
def test_without_pillow(action, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"needs Pillow, which reads.*: pip install pillow"):
        action(tmp_path)


# --- writing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("grey", [False, True])
def test_there_and_back(grey, photos, tmp_path):
    """Oracle: what was read first."""
    folder = load_folder(photos[0], grey=grey)
    files = to_images(folder.X, tmp_path / "back", folder.image_shape, labels=folder.y)
    again = load_folder(tmp_path / "back", grey=grey)
    assert again.files == files
    assert_array_equal(again.X, folder.X)
    assert_array_equal(again.y, folder.y)


def test_rows_without_labels(tmp_path):
    rows = RNG.integers(256, size=(11, 4))
    files = to_images(rows, tmp_path, (2, 2, 1))
    assert [file.name for file in files][::5] == ["00.png", "05.png", "10.png"]
    assert all(file.parent == tmp_path for file in files)
    for file, row in zip(files, rows, strict=True):
        with Image.open(file) as image:
            assert_array_equal(np.asarray(image), row.reshape(2, 2))


def pixels_of(file):
    with Image.open(file) as image:
        return np.asarray(image).ravel().tolist()


def test_learned_rows_leave_the_range(tmp_path):
    (file,) = to_images([[-20.0, 0.4, 254.6, 300.0]], tmp_path / "a", (1, 4, 1))
    assert pixels_of(file) == [0, 0, 255, 255]
    (file,) = to_images([[-2, -1, 0, 3]], tmp_path / "b", (1, 4, 1), vmin=-1, vmax=1)
    assert pixels_of(file) == [0, 0, 128, 255]


BAD = [
    ({"image_shape": (2, 2, 3)}, "'image_shape' .* whose 4 values are a row"),
    ({"image_shape": (2, 1, 2)}, "'image_shape'"),
    ({"image_shape": 4}, "'image_shape'"),
    ({"image_shape": None}, "'image_shape'"),
    ({"rows": [[0.0, 1.0, 0.5, 0.2]]}, r"Got values from 0 to 1: take .*inverse_transform"),
    ({"rows": [[0.0, np.nan, 99, 2]]}, "finite numbers"),
    ({"rows": [["a", "b", "c", "d"]]}, "real numbers"),
    ({"rows": np.ones((1, 2, 2, 1))}, r"rows must have shape \(n_samples, n_features\)"),
    ({"labels": ["a", "b"]}, "'labels' .* one class for each of 1 rows"),
    ({"labels": ["cats/dogs"]}, "'labels' .* can be those of folders. Got 'cats/dogs'"),
    ({"labels": [".."]}, "'labels'"),
    ({"labels": [""]}, "'labels'"),
    ({"vmin": 3, "vmax": 3}, "'vmax' .* above vmin, 3"),
    ({"vmin": 300}, "'vmax'"),
]


@pytest.mark.parametrize("given, message", BAD)
def test_bad_arguments_write_nothing(given, message, tmp_path):
    params = {"rows": [[0, 100, 200, 255]], "image_shape": (2, 2, 1), **given}
    with pytest.raises(ValueError, match=message):
        to_images(path=tmp_path / "new", **params)
    assert not (tmp_path / "new").exists()


def test_a_folder_with_files_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").touch()
    for path in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(ValueError, match=r"'path' .* must be a new or empty folder"):
            to_images([[0, 100, 200, 255]], path, (2, 2, 1))
