"""The encoder elsewhere: ONNX, PyTorch, Hugging Face data sets."""

import numpy as np
import pytest
from lookalike import Encoder, errors


def difference(theirs, ours):
    """The largest difference, relative to the length of the code."""
    return (np.abs(theirs - ours) / np.linalg.norm(ours, axis=1, keepdims=True)).max()


@pytest.fixture(params=["look", "turned", "article", "colours", "augment", "variational"])
def trained(request, encoder, article, colour_encoder, digits, pictures):
    """Encoders of every kind, and images of their shape."""
    from lookalike.datasets import load_images

    colourful = load_images(pictures).images
    quick = {"epochs": 1, "random_state": 0, "progress": False}
    if request.param == "look":
        return encoder, digits.images
    if request.param == "turned":
        return Encoder(turn=True, **quick).fit(colourful), colourful
    if request.param == "article":
        return article, digits.images
    if request.param == "colours":
        return colour_encoder, colourful
    return Encoder(objective=request.param, **quick).fit(colourful), colourful


def test_onnx(trained, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    encoder, images = trained
    file = encoder.to_onnx(tmp_path / "encoder.onnx")
    assert (tmp_path / "encoder.onnx").read_bytes() == file
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    batch = images.reshape(len(images), *encoder.shape_)
    for count in (1, 7, len(images)):
        theirs = session.run(["codes"], {"images": batch[:count]})[0]
        assert difference(theirs, encoder.transform(images[:count])) < 1e-4


def test_torch(trained):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: to_torch is not tested")
    encoder, images = trained
    module = encoder.to_torch()
    assert isinstance(module, torch.nn.Module)
    with torch.no_grad():
        theirs = module(torch.from_numpy(images.copy())).numpy()
    assert difference(theirs, encoder.transform(images)) < 1e-4
    # What was learned can be learned further.
    assert sum(parameter.numel() for parameter in module.parameters()) > 1000
    module(torch.from_numpy(images[:4].copy())).sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
    assert module.state_dict().keys()


def test_tensors_of_torch(encoder, digits):
    torch = pytest.importorskip(
        "torch", reason="PyTorch is not installed: its tensors are not tested"
    )
    tensor = torch.from_numpy(digits.images.copy())
    np.testing.assert_array_equal(encoder.transform(tensor), encoder.transform(digits.images))
    with pytest.raises(errors.InputError, match="uint8"):
        encoder.transform(tensor.float())
    with pytest.raises(errors.InputError, match="permute"):
        encoder.transform(tensor[:, None].expand(-1, 3, -1, -1))


def test_without_torch(encoder, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "lookalike._torch", raising=False)
    with pytest.raises(errors.MissingPackageError, match="pip install torch"):
        encoder.to_torch()


@pytest.fixture
def dataset(digits, monkeypatch, tmp_path):
    datasets = pytest.importorskip(
        "datasets", reason="datasets is not installed: its columns are not tested"
    )
    from PIL import Image

    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    images = [Image.fromarray(image) for image in digits.images[:60]]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    return datasets.Dataset.from_dict(
        {"image": images, "label": digits.target[:60].tolist()}, features=features
    )


def test_columns_of_data_sets(encoder, digits, dataset):
    datasets = pytest.importorskip("datasets")
    expected = encoder.transform(digits.images[:60])
    for images in (
        dataset,
        dataset["image"],
        dataset.select_columns("image"),
        dataset.to_iterable_dataset(),
    ):
        np.testing.assert_allclose(encoder.transform(images), expected, atol=1e-5)
    with pytest.raises(errors.InputError, match=r"several data sets \(train, test\).*\['train'\]"):
        encoder.transform(datasets.DatasetDict(train=dataset, test=dataset))
    with pytest.raises(errors.InputError, match=r"batch of columns.*\['image'\]"):
        encoder.transform(dataset[:10])
    with pytest.raises(errors.InputError, match="has none"):
        encoder.transform(dataset.select_columns("label"))


def test_mapping_a_data_set(encoder, digits, dataset):
    pytest.importorskip("faiss", reason="faiss is not installed: its index is not tested")
    with_codes = dataset.map(encoder.embed, batched=True, batch_size=25)
    codes = encoder.transform(digits.images[:60])
    np.testing.assert_allclose(np.array(with_codes["code"]), codes, atol=1e-5)
    with_codes.add_faiss_index("code")
    scores, found = with_codes.get_nearest_examples("code", codes[7], k=3)
    assert found["label"][0] == digits.target[7]
    with pytest.raises(errors.InputError, match="columns label"):
        encoder.embed({"label": [1, 2]})
    with pytest.raises(errors.InputError, match="no column 'picture' in this batch.* image, label"):
        encoder.embed(dataset[:2], column="picture")
    # Its workers are forked where the system has that.
    forked = dataset.map(encoder.embed, batched=True, batch_size=25, num_proc=2)
    np.testing.assert_allclose(np.array(forked["code"]), codes, atol=1e-5)


def test_transforms_of_data_sets_are_respected(encoder, digits, dataset):
    def turn(batch):
        return {"image": [image.rotate(180) for image in batch["image"]]}

    turned = encoder.transform(np.rot90(digits.images[:60], 2, (1, 2)))
    np.testing.assert_allclose(encoder.transform(dataset.with_transform(turn)), turned, atol=1e-5)
    other = dataset.with_transform(lambda batch: {"pixels": batch["image"]})
    with pytest.raises(errors.InputError, match="leaves no column 'image', but pixels"):
        encoder.transform(other)
