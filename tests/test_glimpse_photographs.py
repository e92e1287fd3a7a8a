"""A pretrained encoder reads the patches: its features, what is trained, and what is kept."""

from dataclasses import replace

import pytest
import torch
from glimpse_command import glimpse, refused
from PIL import Image

from core.errors import InputError
from core.training import checkpoint
from glimpse.config import Config
from glimpse.model import RecurrentAttention, greedy, open_model
from glimpse.networks.patch_encoders import EncoderGlimpseNetwork
from vision.encoder import make_encoder

SMALL = Config(what="lite0", patch=32, scales=2, what_units=8, where_units=4, glimpse_units=8)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    made = EncoderGlimpseNetwork(3, SMALL)
    made.load_pretrained()
    return made.eval()


def test_features_are_those_of_the_encoder_for_every_patch(network):
    pixels = torch.randint(0, 256, (2, 2, 3, 32, 32), dtype=torch.uint8)  # of two scales
    features = network.features(pixels.transpose(1, 2) / 255)
    assert features.shape == (2, 2, 1280)
    whole = make_encoder("lite0")
    for image in range(2):
        expected = whole(pixels[image]).mean(1)
        torch.testing.assert_close(features[image], expected, atol=1e-4, rtol=1e-4)


def test_grey_patches_are_read_as_grey_rgb(network):
    patches = torch.rand(1, 1, 2, 32, 32)
    grey = EncoderGlimpseNetwork(1, SMALL)
    grey.load_pretrained()
    expected = network.features(patches.expand(-1, 3, -1, -1, -1))
    torch.testing.assert_close(grey.features(patches), expected)


def test_the_encoder_is_frozen_and_the_rest_is_trained():
    model = RecurrentAttention(SMALL, 3, 2).train()
    images = torch.randint(0, 256, (2, 3, 40, 50), dtype=torch.uint8)
    model.rollout(images, 2, greedy).logits.square().sum().backward()
    assert isinstance(model.glimpse, EncoderGlimpseNetwork)
    for name, parameter in model.glimpse.named_parameters():
        assert (parameter.grad is None) == name.startswith("encoder."), name
    assert not model.glimpse.encoder.network.training


def test_encoders_without_weights_and_small_patches_are_refused():
    with pytest.raises(InputError, match="tiny is not pretrained: choose --what lite0"):
        EncoderGlimpseNetwork(3, replace(SMALL, what="tiny"))
    with pytest.raises(InputError, match="--patch of at least 32 cells, not 12"):
        EncoderGlimpseNetwork(3, replace(SMALL, patch=12))
    with pytest.raises(InputError, match="there is no encoder 'eye'"):
        EncoderGlimpseNetwork(3, replace(SMALL, what="eye"))
    with pytest.raises(InputError, match="resnet18 comes without weights"):
        EncoderGlimpseNetwork(3, replace(SMALL, what="resnet18")).load_pretrained()


def test_a_checkpoint_holds_the_encoder(tmp_path, capfd):
    random = torch.Generator().manual_seed(0)
    for name, channel in (("green", 1), ("red", 0)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for n in range(8):
            pixels = torch.randint(0, 60, (60, 44, 3), generator=random, dtype=torch.uint8)
            pixels[20:40, 10:30, channel] += 190
            Image.fromarray(pixels.numpy()).save(tmp_path / "photos" / name / f"{n}.png")
    data = ["--preset", "photographs", "--data", tmp_path / "photos", "--runs", tmp_path]
    size = ["--patch", "32", "--width", "32", "--image-size", "64", "64", "--glimpses", "2"]
    steps = ["--steps", "20", "--batch", "8", "--warm-up", "0", "--dropout", "0", "--quiet"]
    assert glimpse("train", *data, *size, *steps) == 0
    run = tmp_path / "glimpse" / "photographs"
    _, saved = open_model(run, "cpu")
    pretrained = make_encoder("lite0").state_dict()
    kept = checkpoint.part(saved["weights"], "glimpse.encoder")
    assert kept.keys() == pretrained.keys()
    assert all(torch.equal(value, kept[name]) for name, value in pretrained.items())
    assert saved["metrics"]["accuracy"] == 1.0
    picture = tmp_path / "photos" / "red" / "0.png"
    assert glimpse("show", run, picture, "--out", tmp_path / "out") == 0
    capfd.readouterr()
    assert glimpse("train", *data, "--patch", "16") == 2
    assert "--patch of at least 32" in refused(capfd)
