"""What a gallery says of itself, and the searches that it keeps."""

import pathlib

import numpy as np
import pytest
from lookalike import Encoder, Gallery, errors
from lookalike._progress import Observer
from PIL import Image

CLIP = pathlib.Path(__file__).parents[2] / "crates/lookalike-pretrained/tests/fixtures/tiny-clip"


def test_copies_outliers_and_a_map(gallery, digits):
    gallery.index(digits.images[:5], name="copies", progress=False)
    noise = np.random.default_rng(0).integers(0, 256, (2, 28, 28), np.uint8)
    gallery.index(noise, name="noise", progress=False)
    copies = gallery.duplicates(exact_only=True, progress=False)
    assert copies.about["exact"] == 5 and len(copies) == 10
    assert copies.group.tolist() == sorted(copies.group.tolist()) and set(copies.kind) == {
        "representative",
        "exact",
    }
    strange = gallery.outliers(5, by="neighbours", progress=False)
    assert len(strange) == 5 and (np.diff(strange.mean_distance) <= 0).all()
    assert (np.diff(strange.score) <= 0).all() and np.isnan(strange.error).all()
    with pytest.raises(errors.ParameterError, match="luck") as caught:
        gallery.outliers(by="luck")
    assert "column" not in str(caught.value)
    with Gallery.create("clip.gallery", Encoder.load(CLIP)) as other:
        other.index(digits.images[:5], name="digits", progress=False)
        with pytest.raises(errors.GalleryError, match="not an autoencoder"):
            other.outliers(by="reconstruction", progress=False)
    layout = gallery.map(progress=False)
    assert (
        layout.position.shape == (407, 2)
        and 0 <= layout.position.min()
        and layout.position.max() <= 1
    )
    check_captions(gallery, layout)
    with pytest.raises(AttributeError, match="columns are"):
        layout.nothing


def check_captions(gallery, table):
    """Each row has the key and the label of its image."""
    known = {point.id: (point.key, point.label) for point in gallery}
    found = zip(table.key.tolist(), table.label.tolist())
    assert list(found) == [known[one] for one in table.id]


def test_clusters(gallery):
    cluster = pytest.importorskip("sklearn.cluster")
    assert len(gallery.clusters()) == 400
    found = gallery.clusters(cluster.KMeans(10, random_state=0), where="label!=3")
    assert found.about["clusters"] == 10 and set(found.cluster) == set(range(10))


def test_copies_that_are_turned_or_in_two_parts(tmp_path, pictures, colour_encoder):
    with Gallery.create(tmp_path / "copies.gallery", colour_encoder) as gallery:
        gallery.index(pictures, progress=False)
        turned = tmp_path / "turned"
        turned.mkdir()
        with Image.open(pictures / "stripes/00.png") as picture:
            picture.save(turned / "same.png")
        with Image.open(pictures / "spots/01.png") as picture:
            picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(turned / "mirrored.png")
        gallery.index(turned, progress=False)
        parts = list(gallery.sources())
        across = gallery.duplicates(across=parts, exact_only=True, progress=False)
        assert set(across.key) == {"stripes/00.png", "same.png"}
        assert across.about["overlap"]["copied"] == [1, 1]
        near = gallery.duplicates(across=parts, progress=False)
        assert "same.png" in near.key and "mirrored.png" not in near.key
        inside = gallery.duplicates(within_folder=True, exact_only=True, progress=False)
        assert len(inside) == 0
        found = gallery.duplicates(across=parts, turned=True, progress=False)
        how = dict(zip(found.key, found.turned))
        assert "mirrored.png" in how and {how["mirrored.png"], how["spots/01.png"]} > {None}
        with pytest.raises(errors.ParameterError, match="two sources"):
            gallery.duplicates(across="turned")
        with pytest.raises(errors.ParameterError, match="exclude each other"):
            gallery.duplicates(across=parts, within_folder=True)
        with pytest.raises(errors.QueryError, match="neither a source"):
            gallery.duplicates(across=("nothing", parts[0]), progress=False)


def test_groups(gallery, digits):
    found = gallery.groups(progress=False)
    sizes = [group["size"] for group in found.about["groups"]]
    assert len(found) == sum(sizes) and sizes == sorted(sizes, reverse=True)
    assert len(found) + found.about["ungrouped"] == 400
    check_captions(gallery, found)
    assert not {"keys", "labels"} & set(found.about)
    assert repr(found).endswith(f"groups {len(sizes)})")
    first = found.about["groups"][0]
    of_first = found.id[found.group == 1]
    assert set(first["typical"]) <= set(of_first) and len(of_first) == first["size"]
    assert found.outlier[found.group == 1].sum() == first["outliers"]
    assert gallery.count("group=1") == 0
    kept = gallery.groups(4, keep=True, progress=False)
    assert len(kept.about["groups"]) == 4 and kept.about["kept"]["grouped"] == len(kept)
    assert gallery.count("group=1") == int((kept.group == 1).sum())
    ones = gallery.groups(2, where="label=1", progress=False)
    assert set(ones.label) == {"1"}
    check_captions(gallery, ones)
    most = gallery.groups(5000, progress=False).about
    assert 4 < len(most["groups"]) <= most["max_count"] < 5000


def test_check(gallery):
    blank = np.full((3, 28, 28), 90, np.uint8)
    gallery.index(blank, name="blank", progress=False)
    found = gallery.check(progress=False)
    blanks = found.fault == "blank"
    assert {gallery[one].source for one in found.id[blanks]} == {"blank"}
    counts = {finding["fault"]: finding["count"] for finding in found.about["findings"]}
    assert counts["blank"] == 3 and found.about["faulty"] >= 3
    assert (gallery.check(1, progress=False).fault == "blank").sum() == 1


def test_sample(gallery, digits):
    sample = gallery.sample(12, progress=False)
    assert len(sample) == len(set(sample.id)) == 12
    assert np.isnan(sample.distance[0]) and (np.diff(sample.distance[1:]) <= 0).all()
    assert len(set(sample.label)) >= 6
    assert set(gallery.sample(5, where="label=3", progress=False).label) == {"3"}


def test_labels(gallery, digits):
    given = {str(at): str(digits.target[at]) for at in range(0, 400, 4)}
    found = gallery.suggest_labels({**given, "1": np.nan, "2": None}, own=False, progress=False)
    assert len(found) == 300 and found.about["labelled"] == 100
    truth = [str(digits.target[int(key)]) for key in found.key]
    assert (found.suggested == truth).mean() > 0.6
    assert (np.diff(found.confidence) <= 0).all() and set(found.own) == {None}
    # A wrong label, by the image itself instead of its key.
    one = gallery.find("1")
    wrong = gallery.suspect_labels({one: "0"}, progress=False)
    assert "1" in wrong.key and dict(zip(wrong.key, wrong.own))["1"] == "0"
    assert len(gallery.suggest_labels(progress=False)) == 0
    with pytest.raises(errors.GalleryError, match="label"):
        gallery.suggest_labels({"0": "7"}, own=False, progress=False)


def test_contact_sheets_show_what_was_asked(gallery):
    gallery.index(np.full((1, 28, 28), 90, np.uint8), name="blank", keys=["grey"], progress=False)
    assert "fault blank" in gallery.check(progress=False)._repr_html_()
    sample = gallery.sample(1, progress=False)
    assert f"label {sample.label[0]}" in sample._repr_html_()
    wrong = gallery.suspect_labels({"1": "seventeen"}, progress=False)._repr_html_()
    assert "own seventeen" in wrong and "suggested" in wrong
    missing = gallery.suggest_labels(progress=False)
    assert list(missing.key) == ["grey"]
    cells = missing._repr_html_().split("</div>", 1)[1]
    assert f"suggested {missing.suggested[0]}" in cells and "own" not in cells


def test_numbers_of_numpy_are_numbers(gallery):
    whole, real = np.int64(3), np.float32(0.1)
    assert len(gallery.groups(whole, min_size=whole, progress=False).about["groups"]) == 3
    assert len(gallery.outliers(whole, k=whole, by="neighbours", progress=False)) == 3
    assert len(gallery.sample(whole, progress=False)) == 3
    near = gallery.duplicates(threshold=real, progress=False)
    assert len(near) == len(gallery.duplicates(threshold=float(real), progress=False))


@pytest.mark.parametrize(
    ("use", "said"),
    [
        (lambda gallery: gallery.outliers(2.5), "count=2.5: expected a whole number"),
        (lambda gallery: gallery.outliers(k=0), "k=0: expected a whole number of at least 1"),
        (lambda gallery: gallery.groups(0), "count=0: expected a whole number of at least 1"),
        (lambda gallery: gallery.check(-1), "limit=-1"),
        (lambda gallery: gallery.sample("ten"), "count='ten'"),
        (lambda gallery: gallery.duplicates(threshold=np.nan), "threshold=nan: expected a number"),
        (lambda gallery: gallery.duplicates(threshold=np.inf), "threshold=inf: expected a finite"),
        (lambda gallery: gallery.to_parquet("x", neighbors=1001), "neighbors=1001: .* at most"),
        (lambda gallery: gallery.to_parquet("x", neighbors=0.5), "neighbors=0.5"),
        (
            lambda gallery: gallery.index(np.zeros((2, 2, 2), np.uint8), name="x", tiles=1.5),
            "tiles",
        ),
    ],
)
def test_numbers_that_cannot_work_are_named(gallery, use, said):
    with pytest.raises(errors.ParameterError, match=said):
        use(gallery)


def test_searches_that_are_kept(gallery, digits):
    ones = [gallery.find(str(at)) for at in np.flatnonzero(digits.target == 1)[:3]]
    assert gallery.searches() == {}
    assert not gallery.save_search("ones", ones, gallery.find("0"), where="label!=7")
    assert gallery.save_search("ones", ones, gallery.find("0"), where="label!=7")
    kept = {"like": 3, "unlike": 1, "filter": "label!=7", "strategy": "learned"}
    assert gallery.searches() == {"ones": kept}
    again = gallery.search(named="ones", k=20)
    asked = gallery.search(like=ones, unlike=gallery.find("0"), where="label!=7", k=20)
    assert again.ids == asked.ids and "7" not in again.labels
    more = gallery.search(named="ones", like=digits.images[0], strategy="average", k=20)
    assert more.ids != again.ids
    gallery.delete([ones[0].id])
    assert "not in the gallery any more" in gallery.search(named="ones").notes[-1]
    gallery.rename_search("ones", "strokes")
    with pytest.raises(errors.QueryError, match="strokes"):
        gallery.search(named="ones")
    for wishes in ({"query": ones[1]}, {"text": "one"}):
        with pytest.raises(errors.QueryError, match="named is a search by examples"):
            gallery.search(named="strokes", **wishes)
    with pytest.raises(errors.ParameterError, match="luck"):
        gallery.search(like=ones[1:], strategy="luck")
    gallery.delete_search("strokes")
    assert gallery.searches() == {}


def test_parts_of_images(tmp_path, colour_encoder):
    random = np.random.default_rng(3)
    large = [
        random.integers(0, 256, (6, 8, 3), np.uint8).repeat(40, 0).repeat(40, 1) for _ in range(8)
    ]
    with Gallery.create(tmp_path / "tiles.gallery", colour_encoder) as gallery:
        gallery.index(large, name="large", tiles=30, progress=False)
        # The lower right quarter of one of them.
        part = np.ascontiguousarray(large[5][120:, 160:])
        hit = gallery.search(part, k=1, tiles=True)[0]
        assert hit.key == "5" and hit.region is not None
        x, y, width, height = hit.region
        assert x + width / 2 > 160 and y + height / 2 > 120
        assert gallery.search(part, k=1)[0].region is None
        with pytest.raises(errors.QueryError, match="tiles"):
            gallery.index(large, name="large", tiles=3, progress=False)


def test_interrupted_findings_leave_the_gallery_as_it_was(gallery, monkeypatch, tmp_path):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Observer, "progress", interrupt)
    for use in (
        gallery.duplicates,
        lambda: gallery.outliers(5, by="neighbours"),
        gallery.map,
        gallery.groups,
        gallery.check,
        lambda: gallery.sample(5),
        gallery.suggest_labels,
        lambda: gallery.to_parquet(tmp_path / "all.parquet"),
    ):
        with pytest.raises(KeyboardInterrupt):
            use()
    monkeypatch.undo()
    assert len(gallery) == 400
    assert gallery.duplicates(exact_only=True, progress=False).about["exact"] == 0
    assert gallery.map(progress=False).position.shape == (400, 2)
