"""What several tests need: some digits, an encoder that learned from them in a second, and pictures
in a folder."""

import numpy as np
import pytest
from lookalike import Encoder, Gallery, datasets
from PIL import Image


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def digits():
    """The first 400 test images of MNIST."""
    return datasets.load_mnist("test", limit=400)


@pytest.fixture(scope="session")
def encoder(digits):
    return Encoder(epochs=1, random_state=0, progress=False).fit(digits.images)


@pytest.fixture(scope="session")
def article(digits):
    """The article's network, which learns faster than any other."""
    return Encoder(
        architecture="conv", epochs=4, batch_size=16, random_state=0, progress=False
    ).fit(digits.images)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """A folder of 40 colour pictures of 24 x 20 pixels, in two folders, which are their labels."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(7)
    for number in range(40):
        kind = ("stripes", "spots")[number % 2]
        (folder / kind).mkdir(exist_ok=True)
        pixels = np.full((20, 24, 3), random.integers(0, 90, 3), np.uint8)
        colour = random.integers(150, 256, 3)
        if kind == "stripes":
            pixels[:: int(random.integers(3, 6))] = colour
        else:
            for top, left in random.integers(0, 16, (5, 2)):
                pixels[top : top + 4, left : left + 4] = colour
        Image.fromarray(pixels).save(folder / kind / f"{number:02}.png")
    return folder


@pytest.fixture(scope="session")
def colour_encoder(pictures):
    return Encoder(epochs=2, random_state=0, progress=False).fit(pictures)


@pytest.fixture
def gallery(tmp_path, encoder, digits):
    """Of the digits, in memory."""
    with Gallery.create(tmp_path / "digits.gallery", encoder) as gallery:
        gallery.index(digits.images, name="digits", labels=digits.target, progress=False)
        yield gallery
