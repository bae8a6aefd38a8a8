"""Whatever images come as, the same images give the same codes, and what is none is refused with
advice."""

import io
import itertools
import os
import re
import warnings
import weakref

import numpy as np
import pytest
from lookalike import Encoder, datasets, errors
from lookalike._inputs import as_input
from PIL import Image, ImageCms
from scipy import sparse


def as_files(images, folder):
    paths = []
    for number, image in enumerate(images):
        paths.append(folder / f"{number}.png")
        Image.fromarray(image).save(paths[-1])
    return paths


def as_bytes(path):
    return path.read_bytes()


@pytest.fixture(scope="module")
def some(digits):
    return digits.images[:20]


@pytest.fixture(scope="module")
def expected(encoder, some):
    return encoder.transform(some)


def test_arrays_lists_pictures_paths_and_bytes_are_the_same_images(
    encoder, some, expected, tmp_path
):
    paths = as_files(some, tmp_path)
    for same in (
        some[..., None],
        np.asfortranarray(some),
        list(some),
        [image.tolist() for image in some],
        [Image.fromarray(image) for image in some],
        [str(path) for path in paths],
        paths,
        [as_bytes(path) for path in paths],
        [{"bytes": None, "path": str(path)} for path in paths],
        np.array(paths, dtype=object),
        np.array([str(path) for path in paths]),
        (image for image in some),
        (path for path in paths),
    ):
        np.testing.assert_allclose(encoder.transform(same), expected, atol=1e-5)


def test_a_folder_is_read_as_its_files(colour_encoder, pictures):
    found = colour_encoder.encode(pictures)
    assert found.codes.shape == (40, colour_encoder.n_features_out_)
    assert set(found.labels) == {"stripes", "spots"}
    in_order = colour_encoder.transform([pictures / key for key in found.keys])
    np.testing.assert_allclose(in_order, found.codes, atol=1e-5)
    assert colour_encoder.encode(str(pictures)).keys == found.keys


def test_images_of_many_sizes_are_brought_to_one(encoder, digits):
    random = np.random.default_rng(0)
    images = [
        random.integers(0, 256, (int(h), int(w), 3), np.uint8)
        for h, w in random.integers(9, 90, (50, 2))
    ]
    codes = encoder.transform(images)
    assert codes.shape == (50, encoder.n_features_out_)
    alone = np.concatenate([encoder.transform([image]) for image in images])
    np.testing.assert_allclose(codes, alone, atol=1e-5)


def test_tensors_are_read_where_they_lie(encoder, some, expected):
    class Tensor:
        """An array that offers DLPack alone."""

        def __init__(self, array):
            self.array = array
            self.asked = 0

        def __dlpack__(self, **how):
            self.asked += 1
            return self.array.__dlpack__(**how)

        def __dlpack_device__(self):
            return self.array.__dlpack_device__()

    tensor = Tensor(some.copy())
    np.testing.assert_array_equal(encoder.transform(tensor), expected)
    assert tensor.asked == 1
    view = as_input(Tensor(some.copy()))
    assert view.length == len(some)


def profiles():
    return ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")


def test_modes_of_pictures(colour_encoder):
    random = np.random.default_rng(1)
    rgb = Image.fromarray(random.integers(0, 256, (30, 30, 3), np.uint8))
    deep = Image.fromarray(random.integers(0, 60_000, (30, 30), np.uint16))
    pictures = {
        mode: rgb.convert(mode)
        for mode in ("1", "L", "P", "LA", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV")
    }
    pictures |= {mode: pictures["RGBA"].convert(mode) for mode in ("RGBa", "PA")}
    pictures |= {"La": pictures["LA"].convert("La"), "I;16": deep}
    pictures |= {mode: Image.new(mode, (30, 30), 900) for mode in ("I;16B", "I;16L")}
    pictures |= {"LAB": ImageCms.profileToProfile(rgb, *profiles(), outputMode="LAB")}
    codes = {mode: colour_encoder.transform([picture]) for mode, picture in pictures.items()}
    assert all(np.isfinite(code).all() for code in codes.values())
    np.testing.assert_allclose(codes["La"], codes["LA"], atol=1e-5)
    np.testing.assert_allclose(codes["RGBa"], codes["RGBA"], atol=1e-5)
    # What PIL makes of a PNG file of 16 bits, by its version.
    wide = Image.fromarray(np.asarray(deep).astype(np.int32))
    assert wide.mode == "I"
    np.testing.assert_array_equal(colour_encoder.transform([wide]), codes["I;16"])
    for value in (-1, 65_536):
        with pytest.raises(errors.InputError, match="mode I"):
            colour_encoder.transform([Image.new("I", (30, 30), value)])
    clear = rgb.convert("RGBA")
    clear.putalpha(0)
    white = Image.new("RGB", (30, 30), "white")
    np.testing.assert_allclose(
        colour_encoder.transform([clear]), colour_encoder.transform([white]), atol=1e-5
    )
    with pytest.raises(errors.InputError, match="mode F"):
        colour_encoder.transform([rgb.convert("F")])


def test_pictures_stand_upright(colour_encoder):
    pixels = np.zeros((30, 40, 3), np.uint8)
    pixels[:10] = (250, 30, 30)
    picture = Image.fromarray(pixels)
    file = io.BytesIO()
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(file, "PNG", exif=exif)
    opened = Image.open(io.BytesIO(file.getvalue()))
    np.testing.assert_allclose(
        colour_encoder.transform([opened]),
        colour_encoder.transform([Image.fromarray(np.rot90(pixels, -1).copy())]),
        atol=1e-5,
    )


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (np.zeros((3, 28, 28)), "uint8.*round"),
        (np.zeros((3, 28, 28), np.float32), "uint8.*round"),
        (np.zeros((3, 28, 28), np.int64), "uint8.*0 to 255 and convert"),
        (np.zeros((3, 28, 28), np.uint16), r"\(images >> 8\).astype"),
        (np.zeros((3, 28, 28), bool), r"astype\('uint8'\) \* 255"),
        (np.zeros((3, 28, 28), complex), "complex128: make real numbers"),
        (sparse.csr_matrix((3, 784), dtype=np.uint8), "sparse matrix"),
        ([np.zeros((28, 28))], "uint8"),
        ([[[1, 2], [3]]], "different lengths"),
        ([], "empty"),
        (np.zeros((0, 28, 28), np.uint8), "empty"),
        (iter([]), "empty"),
        (np.zeros((28, 28), np.uint8), "image_shape"),
        (np.zeros((2, 3, 28, 28), np.uint8), "last dimension.*permute"),
        (np.zeros((2, 28, 28, 4), np.uint8), r"\[..., :3\]"),
        (np.zeros((2, 28, 0), np.uint8), "at least one"),
        (np.zeros((1, 2, 3, 4, 5), np.uint8), "5 dimensions"),
        (Image.new("L", (9, 9)), r"\[image\]"),
        (b"a file", r"\[image\]"),
        ([None], "None"),
        ([3], "int is no image"),
        (17, "int is no images"),
        ({"bytes": b"a file"}, "one image is no collection"),
        ({"label": [1], "image": [b"a file"]}, r"columns \(label, image\).*images\['image'\]"),
    ],
)
def test_what_is_no_images_is_refused(encoder, images, said):
    for use in (encoder.transform, Encoder(epochs=1, progress=False).fit):
        with pytest.raises(errors.InputError, match=re.compile(said, re.DOTALL)) as caught:
            use(images)
        assert isinstance(caught.value, ValueError)
        assert isinstance(caught.value, errors.LookalikeError)


def test_what_cannot_be_read_in_a_list_is_an_error(encoder, tmp_path, digits):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    Image.fromarray(digits.images[0]).save(tmp_path / "good.png")
    with pytest.raises(errors.ImageError, match="bad.png"):
        encoder.transform([tmp_path / "good.png", tmp_path / "bad.png"])
    with pytest.raises(errors.ImageError, match="gone.png"):
        encoder.transform(["gone.png"])
    # A folder is what it is; its rows are named by their keys.
    with pytest.warns(errors.LookalikeWarning, match="bad.png"):
        assert encoder.encode(tmp_path).keys == ["good.png"]
    with pytest.raises(errors.SourceNotFoundError, match="no such file") as caught:
        encoder.transform("nowhere")
    assert isinstance(caught.value, FileNotFoundError)
    with pytest.raises(errors.SourceError) as caught:
        encoder.transform("mnist:valid")
    assert not isinstance(caught.value, FileNotFoundError)


def test_nothing_is_learned_or_made_of_a_part_of_a_list(encoder, tmp_path, digits):
    (tmp_path / "folder").mkdir()
    paths = as_files(digits.images[:40], tmp_path / "folder")
    bad = tmp_path / "folder" / "bad.png"
    bad.write_bytes(b"no picture")
    quick = {"architecture": "conv", "epochs": 1, "random_state": 0, "progress": False}
    for use in (Encoder(**quick).fit, encoder.reconstruct, datasets.load_images):
        with pytest.raises(errors.ImageError, match="bad.png"):
            use([*paths, bad])
        # Of a source, the warning names this file as its place.
        with pytest.warns(errors.LookalikeWarning, match="1 images.*bad.png") as caught:
            use(tmp_path / "folder")
        assert caught[0].filename == __file__
    # However deep the package calls itself.
    for deeper in (encoder.encode, encoder.transform, Encoder(**quick).fit_transform):
        with pytest.warns(errors.LookalikeWarning, match="1 images.*bad.png") as caught:
            deeper(tmp_path / "folder")
        assert {warning.filename for warning in caught} == {__file__}
    with warnings.catch_warnings():
        warnings.simplefilter("error", errors.LookalikeWarning)
        with pytest.raises(errors.LookalikeWarning):
            Encoder(**{**quick, "epochs": 1000}).fit(tmp_path / "folder")


def test_images_are_reconstructed_as_they_are_encoded(digits):
    cropping = Encoder(
        architecture="conv",
        epochs=1,
        input_size=(28, 28),
        resize="crop",
        random_state=0,
        progress=False,
    ).fit(digits.images[:60])
    wide = np.full((5, 28, 56), 255, np.uint8)
    wide[:, :, 14:42] = digits.images[:5]
    made = cropping.reconstruct(wide)
    assert made.shape == (5, 28, 28)
    np.testing.assert_array_equal(made, cropping.reconstruct(digits.images[:5]))


def test_what_an_iterator_raises_is_raised(encoder, digits):
    def images():
        yield from digits.images[:40]
        raise KeyError("the camera broke")

    with pytest.raises(KeyError, match="camera"):
        encoder.transform(images())
    # Of a part of the images nothing is learned.
    unfitted = Encoder(
        architecture="conv", epochs=1, random_state=0, checkpoint="run.checkpoint", progress=False
    )
    with pytest.raises(KeyError, match="camera"):
        unfitted.fit(images())
    assert not os.path.exists("run.checkpoint") and not unfitted._is_fitted()


def test_iterators_are_streamed(encoder, digits):
    """No more is read ahead than is worked on: the encoder holds at most 1,024 images."""
    alive = most = 0

    class Counted(np.ndarray):
        def __del__(self):
            nonlocal alive
            alive -= 1

    def images():
        nonlocal alive, most
        for number in range(3000):
            alive += 1
            most = max(most, alive)
            yield digits.images[number % 400].view(Counted)

    assert encoder.transform(images()).shape[0] == 3000
    assert most < 200, most


def test_an_iterator_is_learned_from(digits):
    """All of it, though the first images are looked at before; in an order of its own, because
    nobody knows its length."""

    def learned(images):
        return Encoder(architecture="conv", epochs=1, random_state=0, progress=False).fit(images)

    first, again = (learned(image for image in digits.images[:300]) for _ in range(2))
    assert first.record_["data"]["images"] == 300
    np.testing.assert_array_equal(
        first.transform(digits.images[:9]), again.transform(digits.images[:9])
    )
    with pytest.raises(errors.InputError, match="iterator"):
        Encoder().fit_transform(image for image in digits.images)


def test_rows_are_images_of_a_shape(digits):
    rows = digits.images[:100].reshape(100, -1)
    encoder = Encoder(
        architecture="conv", epochs=1, image_shape=(28, 28), random_state=0, progress=False
    )
    codes = encoder.fit_transform(rows)
    assert encoder.n_features_in_ == 784
    np.testing.assert_array_equal(codes, encoder.transform(digits.images[:100]))
    with pytest.raises(errors.InputError, match="784"):
        encoder.transform(rows[:, :700])


def test_a_source_can_be_a_pattern_or_an_archive(encoder, tmp_path, digits):
    import zipfile

    paths = as_files(digits.images[:6], tmp_path)
    with zipfile.ZipFile("digits.zip", "w") as archive:
        for path in paths:
            archive.write(path, path.name)
    by_zip = encoder.encode("digits.zip")
    by_pattern = encoder.encode(os.path.join(str(tmp_path), "*.png"))
    assert (
        sorted(by_zip.keys) == sorted(by_pattern.keys) == [f"{number}.png" for number in range(6)]
    )


def test_labels_of_a_series_go_by_position():
    pandas = pytest.importorskip("pandas")
    labels = pandas.Series(["a", "b", "c"]).iloc[[2, 0, 1]]
    images = as_input(np.zeros((3, 2, 2), np.uint8), labels=labels)
    assert [label for batch in images.batches() for label in batch[1]] == ["c", "a", "b"]


def test_shapes_are_known_before_images_are_read():
    grey, colour = np.zeros((4, 5), np.uint8), np.zeros((4, 5, 3), np.uint8)
    for images, may in (
        (np.zeros((2, 4, 5), np.uint8), True),
        (np.zeros((2, 5, 4), np.uint8), False),
        ([grey, Image.fromarray(grey), grey.tolist()], True),
        ([grey, colour], False),
        ([grey, Image.fromarray(colour)], False),
        ([grey, "a.png"], False),
        ([grey, b"a file"], False),
    ):
        assert as_input(images).may_have_shape((4, 5, 1)) == may
    reads = iter(range(3))
    given = as_input(np.zeros((4, 5), np.uint8) for _ in reads)
    assert given.may_have_shape((4, 5, 1)) and next(reads) == 1


def test_whole_numbers_are_labels_without_a_point():
    pandas = pytest.importorskip("pandas")
    images = np.zeros((3, 2, 2), np.uint8)
    given = as_input(images, labels=pandas.Series([7, None, 2.5]))
    assert [label for batch in given.batches() for label in batch[1]] == ["7", None, "2.5"]


class Shown:
    """Gives an array, and nothing else."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


def test_memory_of_others_is_read(encoder, digits):
    some = digits.images[:5]
    expected = encoder.transform(some)
    for images in (
        memoryview(some),
        Shown(some),
        [memoryview(image) for image in some],
        [Shown(image) for image in some],
    ):
        np.testing.assert_array_equal(encoder.transform(images), expected)


def test_pictures_that_cannot_be_read_are_named(encoder, tmp_path):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)).save(file, "PNG")
    (tmp_path / "short.png").write_bytes(file.getvalue()[:600])
    closed = Image.open(io.BytesIO(file.getvalue()))
    closed.close()
    with pytest.raises(errors.ImageError, match="short.png"):
        encoder.transform([Image.open("short.png")])
    with pytest.raises(errors.ImageError, match="closed"):
        encoder.transform([closed])


def test_an_empty_source_is_no_images(encoder, tmp_path):
    (tmp_path / "empty").mkdir()
    for use in (encoder.transform, encoder.reconstruct, Encoder(epochs=1, progress=False).fit):
        with pytest.raises(errors.SourceError, match="empty"):
            use("empty")


def test_what_has_many_images_is_shown_in_a_line(encoder, digits):
    assert repr(digits) == "Images of 400 x 28 x 28, uint8: images, target, keys"
    codes = encoder.encode(digits.images)
    assert repr(codes).startswith("Codes of 400 images, ") and len(repr(codes)) < 80


def test_missing_labels_are_none():
    pandas = pytest.importorskip("pandas")
    images = np.zeros((2, 2, 2), np.uint8)
    for missing in (None, np.nan, np.float32("nan"), pandas.NA, pandas.NaT):
        given = as_input(images, labels=pandas.Series(["a", missing], dtype=object))
        assert [label for batch in given.batches() for label in batch[1]] == ["a", None]
    given = as_input(images, labels=pandas.Series([3, None], dtype="Int64"))
    assert [label for batch in given.batches() for label in batch[1]] == ["3", None]


def test_the_first_images_of_an_iterator_are_let_go():
    class Name(str):
        """A path that can be watched."""

    alive = weakref.WeakSet()

    def names():
        for number in range(300):
            name = Name(f"{number}.png")
            alive.add(name)
            yield name

    given = as_input(names())
    looked_at = [path for batch in itertools.islice(given.batches(), 4) for path in batch[2]]
    assert looked_at == [f"{number}.png" for number in range(64)]
    del looked_at
    assert sum(len(keys) for keys, *_ in given.batches()) == 300
    assert not alive
    with pytest.raises(errors.InputError, match="read already"):
        next(given.batches())


def test_the_first_images_of_an_iterator_may_be_of_any_sizes():
    """The last image that is looked at may be the first of a batch, which is read as a whole."""
    sizes = [*range(1, 64), *[100] * 40]
    given = as_input(np.zeros((1, size), np.uint8) for size in sizes)
    looked_at = 0
    for keys, *_ in given.batches():
        looked_at += len(keys)
        if looked_at >= 64:
            break
    assert sum(len(keys) for keys, *_ in given.batches()) == len(sizes)


@pytest.mark.parametrize("count", [1, 5])
def test_an_iterator_wants_as_many_labels_as_images(count):
    images = (np.zeros((2, 2), np.uint8) for _ in range(3))
    given = as_input(images, labels=["a"] * count)
    with pytest.raises(errors.InputError, match="give one for each"):
        list(given.batches())


def test_rows_of_a_frame_are_images_of_a_shape():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(np.arange(8, dtype=np.uint8).reshape(2, 4))
    [(_, _, pixels, shape)] = as_input(frame, image_shape=(2, 2)).batches()
    assert (pixels, shape) == (bytes(range(8)), (2, 2, 1))
    for wrong in (28, ("28", 28), (0, 28)):
        with pytest.raises(errors.ParameterError, match="expected a height, a width"):
            as_input(np.zeros((3, 784), np.uint8), image_shape=wrong)
    with pytest.raises(errors.InputError, match="image_shape"):
        as_input(frame)
