"""Galleries: made, filled, asked, looked through, and shared with the program."""

import json
import os
import pathlib
import pickle
import shutil
import subprocess
import sys
import uuid

import numpy as np
import pytest
from lookalike import Encoder, Gallery, errors
from PIL import Image

CLIP = pathlib.Path(__file__).parents[2] / "crates/lookalike-pretrained/tests/fixtures/tiny-clip"


def test_images_are_found_again(gallery, digits, encoder):
    assert len(gallery) == 400
    assert gallery.sources() == {"digits": 400}
    answer = gallery.search(digits.images[3], k=4)
    assert [hit.key for hit in answer][0] == "3"
    assert answer.distances.dtype == np.float32 and answer.distances[0] < 1e-6
    assert list(answer.distances) == sorted(answer.distances)
    assert answer[0].label == str(digits.target[3])
    assert answer[:2] == [answer[0], answer[1]] and len(answer) == 4
    assert gallery.dims == encoder.n_features_out_ and gallery.metric == "cosine"


def test_whatever_is_asked_with_it_is_the_same_image(gallery, digits, encoder, tmp_path):
    image = digits.images[5]
    Image.fromarray(image).save(tmp_path / "five.png")
    code = encoder.transform([image])[0]
    hit = gallery.search(image, k=1)[0]
    for query in (
        Image.fromarray(image),
        tmp_path / "five.png",
        str(tmp_path / "five.png"),
        (tmp_path / "five.png").read_bytes(),
        hit,
        hit.id,
        uuid.UUID(hit.id),
        code,
        "mnist:test#5",
    ):
        answer = gallery.search(query, k=3)
        assert answer.keys[0] == "5", query
        assert answer.distances[0] < 1e-5
    np.testing.assert_allclose(gallery[hit.id].code, code, atol=1e-6)
    assert gallery.find("5").id == hit.id
    assert gallery.find("no such key") is None
    assert hit in gallery and uuid.uuid4() not in gallery


def test_regions_and_examples(gallery, digits):
    part = gallery.search(digits.images[5], k=3, region=(4, 4, 20, 20))
    assert len(part) == 3
    ones = [gallery.find(str(number)) for number in np.flatnonzero(digits.target == 1)[:3]]
    answer = gallery.search(like=ones, unlike=gallery.find("0"), k=10)
    assert not set(answer.ids) & {one.id for one in ones}
    assert answer.labels.count("1") >= 6
    alone = gallery.search(like=digits.images[2], k=3)
    assert "2" not in alone.keys


def test_filters_and_options(gallery, digits):
    answer = gallery.search(digits.images[0], k=50, where="label=7")
    assert set(answer.labels) == {"7"}
    assert gallery.count("label=7") == int((digits.target == 7).sum())
    assert "0" not in gallery.search(digits.images[0], k=5, exclude_self=True).keys
    near = gallery.search(digits.images[0], k=400, max_distance=0.05)
    assert 1 <= len(near) < 400 and near.distances.max() <= 0.05
    unbounded = gallery.search(digits.images[0], k=np.int64(400), max_distance=np.inf)
    assert len(unbounded) == 400
    by_length = gallery.search(digits.images[0], k=5, metric="euclidean")
    assert by_length.exact and by_length.metric == "euclidean"
    assert (
        gallery.search(digits.images[0], k=5, diverse=0.3).keys
        != gallery.search(digits.images[0], k=5).keys
    )


def test_diffusion_needs_its_graph(gallery, digits):
    with pytest.raises(errors.GalleryError, match="neighbour graph"):
        gallery.search(digits.images[0], rerank="diffusion")
    gallery.index(
        digits.images, name="digits", labels=digits.target, diffusion=True, progress=False
    )
    answer = gallery.search(digits.images[0], rerank="diffusion")
    assert answer[0].score is not None


@pytest.mark.parametrize(
    ("wishes", "error", "said"),
    [
        ({}, errors.QueryError, "one of query"),
        ({"query": "a.png", "text": "cat"}, errors.QueryError, "query, text"),
        ({"text": "cat"}, errors.QueryError, "no words"),
        ({"query": "nowhere.png"}, errors.SourceError, "no such file"),
        ({"query": np.zeros(3, np.float32)}, errors.QueryError, "3 dimensions"),
        ({"query": np.full(176, np.nan, np.float32)}, errors.InputError, "NaN"),
        ({"query": str(uuid.UUID(int=5))}, errors.NoSuchImageError, "no image"),
        ({"query": np.zeros((4, 4))}, errors.InputError, "uint8"),
        ({"query": np.zeros((1, 176), np.float32)}, errors.InputError, r"a row, as in codes\[0\]"),
        ({"query": np.zeros((9, 9), np.uint8), "k": 0}, errors.QueryError, "k=0"),
        ({"query": np.zeros((9, 9), np.uint8), "where": "wide"}, errors.QueryError, "wide"),
        ({"query": np.zeros((9, 9), np.uint8), "metric": "l7"}, errors.ParameterError, "l7"),
        ({"query": np.zeros((9, 9), np.uint8), "region": (1, 2)}, errors.InputError, "region"),
        ({"query": np.zeros((9, 9), np.uint8), "rerank": "luck"}, errors.QueryError, "luck"),
        ({"like": [], "k": 3}, errors.QueryError, "at least one"),
        (
            {"query": np.zeros((9, 9), np.uint8), "k": 2.7},
            errors.QueryError,
            "k=2.7: expected a whole",
        ),
        ({"query": np.zeros((9, 9), np.uint8), "k": "3"}, errors.QueryError, "k='3'"),
        (
            {"query": np.zeros((9, 9), np.uint8), "max_distance": np.nan},
            errors.QueryError,
            "max_distance=nan",
        ),
        (
            {"query": np.zeros((9, 9), np.uint8), "diverse": "very"},
            errors.QueryError,
            "diverse='very'",
        ),
    ],
)
def test_what_cannot_be_answered_is_refused(gallery, wishes, error, said):
    with pytest.raises(error, match=said):
        gallery.search(**wishes)


def test_indexing_twice_changes_nothing(gallery, digits):
    again = gallery.index(digits.images, name="digits", labels=digits.target, progress=False)
    assert (again["added"], again["changed"], again["unchanged"]) == (0, 0, 400)
    fewer = gallery.index(
        digits.images[:390], name="digits", labels=digits.target[:390], prune=True, progress=False
    )
    assert fewer["removed"] == 10 and len(gallery) == 390
    assert gallery.delete([gallery.find("0"), gallery.find("1").id]) == 2
    assert gallery.forget("digits") == 388 and len(gallery) == 0


def test_a_source_that_lists_nothing_is_pruned_only_if_that_is_meant(gallery, digits):
    os.mkdir("photos")
    Image.fromarray(digits.images[0]).save("photos/0.png")
    assert gallery.index("photos", progress=False)["added"] == 1
    os.remove("photos/0.png")
    with pytest.raises(errors.SourceError, match="nothing was pruned"):
        gallery.index("photos", prune=True, progress=False)
    assert gallery.index("photos", prune_emptied=True, progress=False)["removed"] == 1


def test_what_cameras_wrote_is_kept_unless_it_is_refused(gallery, digits):
    os.mkdir("photos")
    picture = Image.fromarray(digits.images[0])
    exif = picture.getexif()
    exif[0x010F], exif[0x0110] = "Maker", "Model"
    picture.save("photos/0.jpg", exif=exif)

    def camera(**how):
        gallery.index("photos", reread=True, progress=False, **how)
        return gallery.find("0.jpg").payload["facts"].get("camera")

    assert camera() is not None and camera(exif=False) is None
    # As before.
    assert camera() is None and camera(exif=True) is not None


def test_rows_of_pixels_are_indexed(gallery, digits):
    rows = digits.images[:3].reshape(3, -1)
    gallery.index(rows, name="rows", image_shape=(28, 28), progress=False)
    assert gallery.search(digits.images[1], k=2).distances.max() < 1e-6


def test_a_folder_and_lists_of_paths(colour_encoder, pictures):
    paths = sorted(pictures.glob("*/*.png"))
    with Gallery.create("pictures.gallery", colour_encoder) as gallery:
        summary = gallery.index(pictures, progress=False)
        assert summary["added"] == 40
        assert gallery.search(paths[3], k=1)[0].location == str(paths[3])
        assert {point.label for point in gallery} == {"spots", "stripes"}
    with Gallery.create("paths.gallery", colour_encoder) as gallery:
        gallery.index(paths, labels=[path.parent.name for path in paths], progress=False)
        hit = gallery.search(paths[3], k=1)[0]
        assert (hit.key, hit.label) == (str(paths[3]), paths[3].parent.name)
        assert gallery.picture(hit) is not None


def test_images_in_memory_need_a_name(gallery, digits):
    with pytest.raises(errors.InputError, match="name"):
        gallery.index(digits.images)
    with pytest.raises(errors.InputError, match="399 labels for 400"):
        gallery.index(digits.images, name="digits", labels=digits.target[:399])
    stream = (image for image in digits.images[:30])
    # Nothing of it is lost where it is refused.
    with pytest.raises(errors.InputError, match="name"):
        gallery.index(stream)
    with pytest.raises(errors.ParameterError, match="tiles"):
        gallery.index(stream, name="stream", tiles="many")
    summary = gallery.index(stream, name="stream", progress=False)
    assert summary["added"] == 30
    named = gallery.index(digits.images[:2], name="named", keys=["a", "b"], progress=False)
    assert named["added"] == 2 and gallery.find("a").source == "named"


def test_what_cannot_be_read_is_passed_over(gallery, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "bad.png").write_bytes(b"x")
    Image.new("L", (28, 28), 90).save(tmp_path / "folder" / "good.png")
    with pytest.warns(errors.LookalikeWarning, match="bad.png"):
        summary = gallery.index("folder", progress=False)
    assert (summary["added"], summary["skipped"]) == (1, 1)
    # In a list as well, whose images are known by their keys.
    paths = [tmp_path / "folder" / name for name in ("bad.png", "good.png")]
    with pytest.warns(errors.LookalikeWarning, match="bad.png"):
        summary = gallery.index(paths, progress=False)
    assert (summary["added"], summary["skipped"]) == (1, 1)


def test_one_at_a_time(gallery, encoder):
    with pytest.raises(BlockingIOError, match="in use") as caught:
        Gallery.open(gallery.path)
    assert isinstance(caught.value, errors.GalleryInUseError)
    busy = subprocess.run(
        [sys.executable, "-m", "lookalike", "info", str(gallery.path)],
        capture_output=True,
        text=True,
    )
    assert busy.returncode == 1 and "in use" in busy.stderr
    with pytest.raises(FileExistsError):
        Gallery.create(gallery.path, encoder)
    gallery.close()
    gallery.close()
    assert gallery.closed and "closed" in repr(gallery)
    for use in (lambda: len(gallery), lambda: gallery.search("x.png"), gallery.__enter__):
        with pytest.raises(errors.GalleryClosedError, match="open it again"):
            use()
    with Gallery.open(gallery.path) as again:
        assert len(again) == 400
    shown = subprocess.run(
        [sys.executable, "-m", "lookalike", "info", str(gallery.path), "--json"],
        capture_output=True,
        check=True,
    )
    assert json.loads(shown.stdout)["points"] == 400


def test_what_is_there_is_told_from_what_is_not(tmp_path, article, gallery):
    with pytest.raises(FileNotFoundError, match="no gallery"):
        Gallery.open("nowhere")
    with pytest.raises(errors.GalleryError, match="not a gallery"):
        (tmp_path / "folder").mkdir()
        Gallery.open("folder")
    with pytest.raises(errors.ParameterError, match="l7"):
        Gallery.create("x.gallery", article, metric="l7")
    with pytest.raises(errors.NotFittedError):
        Gallery.create("x.gallery", Encoder())
    with pytest.raises(errors.QueryError, match="not the id"):
        gallery.delete(["seven"])
    first = next(iter(gallery))
    for name in (first, first.id, uuid.UUID(first.id), first.key, f"digits#{first.key}"):
        assert name in gallery and gallery[name].id == first.id
    for name in ("seven", str(uuid.uuid4()), uuid.uuid4(), 7, None):
        assert name not in gallery
        with pytest.raises(KeyError, match="no image"):
            gallery[name]


def test_a_region_is_one_of_a_query(gallery, digits):
    for asked in ({"like": digits.images[0]}, {"text": "seven"}):
        with pytest.raises(errors.QueryError, match="region"):
            gallery.search(**asked, region=(0, 0, 9, 9))


def test_it_knows_its_encoder(gallery, encoder, digits):
    own = gallery.encoder
    np.testing.assert_array_equal(
        own.transform(digits.images[:5]), encoder.transform(digits.images[:5])
    )


def test_it_knows_how_its_encoder_was_adapted(encoder, digits, tmp_path):
    (tmp_path / "digits").mkdir()
    for number, image in enumerate(digits.images[:300]):
        Image.fromarray(image).save(tmp_path / "digits" / f"{number}.png")
    encoder.save("m")
    line = ["index", "digits", "--encoder", str(CLIP), "--model", "m", "--gallery", "g"]
    subprocess.run([sys.executable, "-m", "lookalike", *line], check=True, capture_output=True)
    with Gallery.open("g") as gallery:
        points = list(gallery)
        adapted = gallery.encoder
    assert adapted.n_features_out_ == len(points[0].code) and adapted.recipe_ is None
    images = digits.images[[int(point.key.removesuffix(".png")) for point in points]]
    stored = [point.code for point in points]
    np.testing.assert_allclose(adapted.transform(images), stored, atol=1e-5)
    # Only the gallery knows all that belongs to it.
    for use in (
        lambda: adapted.save("n"),
        lambda: pickle.dumps(adapted),
        lambda: adapted.to_onnx("n.onnx"),
        lambda: adapted.reconstruct(images[:2]),
    ):
        with pytest.raises(errors.ModelError, match="open its gallery"):
            use()
    with pytest.raises(errors.QueryError, match="adaptation"):
        Gallery.create("again", adapted)
    assert not (tmp_path / "again").exists()


def test_no_gallery_is_left_behind_by_an_encoder_that_is_gone(tmp_path):
    shutil.copytree(CLIP, tmp_path / "clip")
    clip = Encoder.load(tmp_path / "clip")
    shutil.rmtree(tmp_path / "clip")
    with pytest.raises(errors.LookalikeError, match="clip"):
        Gallery.create("clip.gallery", clip)
    assert not (tmp_path / "clip.gallery").exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_process_leaves_the_gallery_to_its_parent(gallery):
    script = """
import gc, os, subprocess, sys
from lookalike import Gallery
gallery, other = Gallery.open(sys.argv[1]), Gallery.open(sys.argv[2])
child = os.fork()
if child == 0:
    gallery.close()
    del other
    gc.collect()
    os._exit(0)
os.waitpid(child, 0)
assert len(gallery) == 400 and not gallery.closed
for path in sys.argv[1:]:
    info = [sys.executable, "-m", "lookalike", "info", path]
    found = subprocess.run(info, capture_output=True, text=True)
    assert found.returncode == 1 and "in use" in found.stderr, found
gallery.close()
subprocess.run([sys.executable, "-m", "lookalike", "info", sys.argv[1]], check=True, capture_output=True)
"""
    gallery.close()
    shutil.copytree(gallery.path, "other.gallery")
    line = [sys.executable, "-c", script, str(gallery.path), "other.gallery"]
    found = subprocess.run(line, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_what_needs_threads_that_stayed_behind_is_refused(gallery):
    gallery.close()
    script = """
import os, sys
import lookalike
from lookalike import Encoder, Gallery
clip, gallery = Encoder.load(sys.argv[1]), Gallery.open(sys.argv[2])
own = gallery.encoder
uses = [
    lambda: clip.encode_text("a seven"),
    lambda: clip.transform([[[0] * 9] * 9]),
    lambda: Encoder.load(sys.argv[1]),
    lambda: len(gallery),
    lambda: Gallery.create("other.gallery", own),
    lambda: own.transform("https://127.0.0.1:1/pictures"),
]
child = os.fork()
if child == 0:
    for number, use in enumerate(uses, 1):
        try:
            use()
            os._exit(number)
        except lookalike.errors.LookalikeError as error:
            if "spawn" not in str(error):
                os._exit(number)
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    line = [sys.executable, "-c", script, str(CLIP), str(gallery.path)]
    assert subprocess.run(line, timeout=120).returncode == 0


def test_names_of_images_in_memory_are_queries(gallery, digits):
    assert gallery.search("digits#3", k=1)[0].key == "3"
    assert gallery.search(like=["digits#3", "digits#4"], k=2).distances.shape == (2,)
    with pytest.raises(errors.SourceError):
        gallery.search("digits#400")


def test_codes_written_out_are_queries(gallery):
    code = gallery["digits#3"].code.tolist()
    assert gallery.search(code, k=1)[0].key == "3"
    assert gallery.search(like=code, k=1)[0].key == "3"


def test_one_id_is_deleted_as_several_are(gallery):
    first, second, third = (gallery[f"digits#{number}"] for number in range(3))
    assert gallery.delete(first.id) == gallery.delete(second) == 1
    assert gallery.delete(uuid.UUID(third.id)) == 1
    assert len(gallery) == 397


def test_keys_that_are_there_twice_are_refused_before_anything_is_written(gallery, digits):
    for keys in (["a", "a", "b"], [1, "1", 2]):
        for images in (digits.images[:3], iter(digits.images[:3])):
            with pytest.raises(errors.ParameterError, match=f"keys: '{keys[0]}' is the key of two"):
                gallery.index(images, name="twice", keys=keys)
    assert len(gallery) == 400


def test_lists_of_paths_are_pruned_by_their_names(colour_encoder, pictures):
    paths = sorted(pictures.glob("*/*.png"))
    with Gallery.create("paths.gallery", colour_encoder) as gallery:
        gallery.index(paths[:9], progress=False)
        for prune in ({"prune": True}, {"prune_emptied": True}):
            with pytest.raises(errors.InputError, match="give each list a name"):
                gallery.index(paths[9:], progress=False, **prune)
        gallery.index(paths[9:20], name="others", progress=False)
        removed = gallery.index(paths[9:12], name="others", prune=True, progress=False)["removed"]
        assert removed == 8 and gallery.sources() == {"files": 9, "others": 3}


def test_nothing_to_index_is_said(encoder, tmp_path):
    (tmp_path / "empty").mkdir()
    with Gallery.create("new.gallery", encoder) as gallery:
        with pytest.warns(errors.LookalikeWarning, match="is empty: empty holds no image"):
            assert gallery.index("empty", progress=False)["points"] == 0


def test_a_gallery_is_made_for_the_file_of_an_encoder(encoder):
    encoder.save("model.safetensors")
    with Gallery.create("new.gallery", "model.safetensors") as gallery:
        assert gallery.dims == encoder.n_features_out_


@pytest.mark.parametrize(
    ("use", "said"),
    [
        (lambda gallery: Gallery.create("new.gallery", 3), "encoder=3: expected an Encoder"),
        (lambda gallery: Gallery.open(b"digits"), "path=b'digits': expected a path, not bytes"),
        (lambda gallery: gallery.index(np.zeros((2, 9, 9), np.uint8), name=3), "name=3"),
        (
            lambda gallery: gallery.index(np.zeros((2, 9, 9), np.uint8), name="x", labels=5),
            "labels=5",
        ),
        (lambda gallery: gallery.search("digits#3", where=3), "where=3: expected a filter"),
        (lambda gallery: gallery.count(3), "where=3"),
        (lambda gallery: gallery.groups(where=3), "where=3"),
        (lambda gallery: gallery.forget(3), "source=3"),
        (lambda gallery: gallery.search("digits#3", region=(0, 0, 9.5, 9)), "whole pixels"),
    ],
)
def test_what_has_another_type_is_named(gallery, use, said):
    with pytest.raises(errors.LookalikeError, match=said):
        use(gallery)


def test_searches_run_side_by_side(gallery, digits):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda number: gallery.search(digits.images[number], k=1).keys[0], range(64))
        )
    assert answers == [str(number) for number in range(64)]


def test_looking_through(gallery, encoder, digits):
    points = list(gallery)
    assert len(points) == 400 and [point.id for point in points] == sorted(
        point.id for point in points
    )
    codes = gallery.codes()
    np.testing.assert_array_equal(codes, [point.code for point in points])
    order = [int(point.key) for point in points]
    np.testing.assert_allclose(codes, encoder.transform(digits.images[order]), atol=1e-6)
    assert sum(1 for _ in gallery.points("label=3")) == int((digits.target == 3).sum())


def test_tables(gallery):
    pandas, arrow = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    from pyarrow import parquet

    frame = gallery.to_pandas(codes=True)
    assert frame.index.name == "id" and len(frame) == 400 and set(frame["source"]) == {"digits"}
    assert frame["code"].iloc[0].shape == (gallery.dims,)
    table = gallery.to_arrow()
    assert table.num_rows == 400 and table["id"].to_pylist() == list(frame.index)
    assert table.schema.field("code").type == arrow.list_(arrow.float32(), gallery.dims)
    flat = table["code"].chunk(0).flatten()
    np.testing.assert_array_equal(flat.to_numpy().reshape(400, -1), np.stack(frame["code"]))
    assert gallery.to_arrow("label=3").num_rows == gallery.count("label=3")
    assert gallery.to_parquet("all.parquet", progress=False) == 400
    assert parquet.read_table("all.parquet")["id"].to_pylist() == list(frame.index)
    gallery.to_parquet("map.parquet", map=True, neighbors=3, progress=False)
    table = parquet.read_table("map.parquet")
    assert {"x", "y"} < set(table.column_names)
    assert [len(near["ids"]) for near in table["neighbors"].to_pylist()] == [3] * 400
    hits = gallery.search(gallery.find("7"), k=3).to_pandas()
    assert list(hits.columns[:5]) == ["id", "key", "distance", "score", "label"] and len(hits) == 3
    assert isinstance(gallery.map(progress=False).to_pandas(), pandas.DataFrame)


def test_contact_sheets(gallery, digits, encoder):
    answer = gallery.search(digits.images[0], k=3)
    sheet = answer._repr_html_()
    # The query and its neighbours, as pictures.
    assert sheet.count("<img") == 4 and "data:image/png" in sheet
    assert gallery.outliers(3, by="neighbours", progress=False)._repr_html_().count("<img") == 3
    assert "digits" in gallery._repr_html_()
    assert repr(answer).startswith("Answer to an image: 3 by cosine")
    gallery.index(digits.images[:1], name="<script>", keys=["<b>"], progress=False)
    assert "<b>" not in gallery.search(gallery.find("<b>"), k=2)._repr_html_()
    strange = gallery.outliers(3, by="neighbours", progress=False)
    gallery.close()
    assert answer._repr_html_().count("<img") == 1
    # In another process there is no gallery.
    there = pickle.loads(pickle.dumps(answer))
    assert there.ids == answer.ids and there._repr_html_().count("<img") == 1
    assert pickle.loads(pickle.dumps(strange)).id.tolist() == strange.id.tolist()


def test_an_interrupted_index_is_completed(encoder, digits):
    def images():
        yield from digits.images[:300]
        import signal

        signal.raise_signal(signal.SIGINT)
        yield from digits.images[300:]

    with Gallery.create("some.gallery", encoder) as gallery:
        with pytest.raises(KeyboardInterrupt):
            gallery.index(images(), name="digits", progress=False)
        gallery.index(digits.images, name="digits", progress=False)
        assert len(gallery) == 400


def test_what_an_iterator_did_not_come_to_is_not_gone(gallery, digits):
    def images():
        yield from digits.images[:40]
        raise KeyError("the camera broke")

    with pytest.raises(KeyError, match="camera"):
        gallery.index(images(), name="digits", prune=True, progress=False)
    assert len(gallery) == 400
