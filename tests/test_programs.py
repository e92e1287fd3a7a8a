"""Exported programs, loaded and given other batches, against the models they were made from."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from torch import Tensor

import captioning.__main__
import captioning.config
import captioning.export
import glimpse.__main__
import glimpse.config
import glimpse.export
import video.__main__
import video.config
import video.export
from captioning.arguments import Export
from captioning.metrics.confidence import Confidence
from captioning.model import Captioner
from captioning.trained import Trained as TrainedCaptioner
from core import decoding
from core.errors import InputError
from core.training import checkpoint, cli, export
from core.training.arguments import Export as VideoExport
from core.training.config import to_dict
from datasets.images import boards
from datasets.text.vocabulary import Vocabulary
from glimpse.model import DEFAULT, RecurrentAttention, greedy, open_model
from video.trained import build
from vision.encoder import TINY, encoder_of, make_encoder

# torch 2.11 warns of the buffer that it read itself.
pytestmark = pytest.mark.filterwarnings("ignore:The given buffer is not writable")


MAP = {"what": "conv", "filters": 8, "context": 8, "locator": "map", "absence": True}


class Double(torch.nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (2 * x,)


def save(path: Path, app: str, config: Any, model: torch.nn.Module, extras: dict[str, Any]) -> Path:
    payload = {
        "step": 1,
        "seconds": 0.0,
        "metrics": {},
        "config": to_dict(config),
        "extras": extras,
    }
    checkpoint.save(path, app, {**payload, "weights": model.state_dict()})
    return path


def load(path: Path) -> tuple[Any, dict[str, Any]]:
    """The program as a function of tensors, and what its file says about it."""
    if path.suffix == ".onnx":
        session = onnxruntime.InferenceSession(path)

        def run(**inputs: Tensor) -> list[Tensor]:
            arrays = {name: value.numpy() for name, value in inputs.items()}
            return [torch.as_tensor(array) for array in session.run(None, arrays)]

        return run, json.loads(session.get_modelmeta().custom_metadata_map["about.json"])
    about = {"about.json": ""}
    program = torch.export.load(path, extra_files=about)
    return program.module(), json.loads(about["about.json"])


@pytest.mark.parametrize(
    ("name", "size", "options"),
    [
        ("a.pt2", (12, 10), {}),
        ("b.pt2", (12, 10), {"cell": "lstm", "scales": 2}),
        ("c.onnx", (12, 10), {"cell": "lstm"}),
        ("d.pt2", (12, 10), {"what": "conv", "filters": 8, "scales": 2}),
        ("e.pt2", (12, 10), {"context": 8}),
        ("f.pt2", (None, None), MAP),
        ("g.pt2", (12, 10), {"locator": "scan"}),
        ("h.onnx", (None, None), {"locator": "scan"}),
    ],
)
def test_a_glimpse(
    tmp_path: Path, name: str, size: tuple[int | None, int | None], options: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    config = glimpse.config.Config(
        patch=4, what_units=6, where_units=5, glimpse_units=7, hidden=8, **options
    )
    model = RecurrentAttention(config, 1, 3).eval()
    run = save(
        tmp_path / "a.pt",
        "glimpse",
        config,
        model,
        {"classes": list("abc"), "image_shape": [1, *size]},
    )
    assert (
        cli.main("glimpse", glimpse.__main__.COMMANDS, ["export", str(run), str(tmp_path / name)])
        == 0
    )
    program, about = load(tmp_path / name)
    images = torch.randint(0, 256, (2, 1, 12, 10), dtype=torch.uint8)
    inputs = {"images": images, "state": torch.zeros(2, *about["state_shape"])}
    if model.location.start(images) is not None:
        start, _ = load((tmp_path / name).with_suffix(f".start{Path(name).suffix}"))
        inputs["memory"] = start(images=images)[0]
    episode = model.rollout(images, 3, greedy)
    for t in range(3):
        location, p, *after = program(**inputs)
        torch.testing.assert_close(location, episode.locations[t])
        torch.testing.assert_close(p, episode.logits[t].softmax(-1))
        inputs = dict(zip(inputs, [images, *after], strict=True))
    assert about["classes"] == list("abc")


def test_the_model_of_this_package_at_boards_of_any_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "boards.onnx"
    command = ["export", str(DEFAULT), str(file)]
    assert cli.main("glimpse", glimpse.__main__.COMMANDS, command) == 0
    assert "boards.start.onnx: images [batch, 1, height, width]\n" in capsys.readouterr().out
    start, _ = load(tmp_path / "boards.start.onnx")
    step, about = load(file)
    model, _ = open_model(DEFAULT, "cpu")
    for size in ((256, 256), (210, 300)):
        images = torch.stack([boards.draw(3, number, size).image for number in range(2)])
        with torch.no_grad():
            episode = model.rollout(images, about["glimpses"], greedy)
        state = torch.zeros(2, *about["state_shape"])
        (memory,) = start(images=images)
        for t in range(about["glimpses"]):
            location, p, state, memory = step(images=images, state=state, memory=memory)
            torch.testing.assert_close(location, episode.locations[t], rtol=1e-3, atol=1e-4)
            expected = episode.logits[t].softmax(-1)
            torch.testing.assert_close(p, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("flags", "options"),
    [([], {}), ([], {"attention": False, "cell": "gru"}), (["--onnx"], {})],
)
def test_a_captioner(tmp_path: Path, flags: list[str], options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    config = captioning.config.Config(embedding=5, hidden=7, visual=6, scores=4, **options)
    encoder, vocabulary = encoder_of(config), Vocabulary.train(["a cat sees a dog"], 1)
    decoder = Captioner(config, encoder.channels, len(vocabulary)).eval()
    with torch.no_grad():
        decoder.bias.normal_()
    trained = TrainedCaptioner(config, encoder, decoder, vocabulary, Confidence())
    both = torch.nn.ModuleDict({"encoder": encoder, "decoder": decoder})
    extras = {
        "vocabulary": vocabulary.to_json(),
        "preprocessing": to_dict(encoder.preprocessing),
        "fingerprint": "",
    }
    run = save(tmp_path / "a.pt", "captioning", config, both, extras)
    assert (
        cli.main(
            "captioning",
            captioning.__main__.COMMANDS,
            ["export", str(run), str(tmp_path / "new/folder"), *flags],
        )
        == 0
    )
    suffix = "onnx" if flags else "pt2"
    encode, _ = load(tmp_path / f"new/folder/encode.{suffix}")
    step, about = load(tmp_path / f"new/folder/step.{suffix}")
    pixels = torch.randint(0, 256, (2, 3, TINY.size, TINY.size), dtype=torch.uint8)
    state, cells, keys, mean, names = encode(pixels=pixels)
    tokens, found = torch.full((2,), about["start"]), []
    for _ in range(4):
        log_p, state, alpha = step(
            tokens=tokens, state=state, cells=cells, keys=keys, mean=mean, names=names
        )
        assert torch.allclose(alpha.sum(-1), torch.ones(2))
        assert log_p[:, vocabulary.unspoken].isneginf().all(), "as <unk>"
        tokens = log_p.argmax(-1)
        found.append(tokens)
    with torch.no_grad():
        projection = decoder.project(trained.encode(pixels))
        start, end = vocabulary.start, len(vocabulary)  # an end that is never written
        written = decoding.greedy(
            decoder.stepper(projection),
            decoder.initial_state(projection),
            start=start,
            end=end - 1,
            length=4,
        )
    ended = (written.tokens == end - 1).cumsum(1) > 0
    assert torch.equal(torch.stack(found, 1)[~ended], written.tokens[~ended])
    assert about["end"] == vocabulary.end


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.pt2", {"cell": "lstm", "layers": 2}),
        ("b.pt2", {"cell": "gru"}),
        ("c.pt2", {"cell": "none"}),
        ("d.onnx", {"cell": "lstm", "layers": 2}),
    ],
)
def test_a_labeller(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    config = video.config.Config(frame_size=16, frame=5, hidden=7, **options)
    encoder = make_encoder("tiny", preprocessing=replace(TINY, size=16))
    trained = build(config, encoder, tuple("abc"))
    trained.labeller.eval()
    both = torch.nn.ModuleDict({"encoder": encoder, "labeller": trained.labeller})
    extras = {
        "classes": list("abc"),
        "preprocessing": to_dict(encoder.preprocessing),
        "fingerprint": "",
    }
    run = save(tmp_path / "a.pt", "video", config, both, extras)
    assert (
        cli.main("video", video.__main__.COMMANDS, ["export", str(run), str(tmp_path / name)]) == 0
    )
    program, about = load(tmp_path / name)
    frames = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8)
    expected, _ = trained.label(trained.features(frames))
    state, found = torch.zeros(1, *about["state_shape"]), []
    for frame in frames:
        log_p, state = program(pixels=frame[None], state=state)
        found.append(log_p[0])
    torch.testing.assert_close(torch.stack(found), expected)


def test_what_cannot_be_written_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = video.config.Config(frame_size=16, frame=5, hidden=7, bidirectional=True)
    encoder = make_encoder("tiny", preprocessing=replace(TINY, size=16))
    trained = build(config, encoder, tuple("abc"))
    both = torch.nn.ModuleDict({"encoder": encoder, "labeller": trained.labeller})
    extras = {
        "classes": list("abc"),
        "preprocessing": to_dict(encoder.preprocessing),
        "fingerprint": "",
    }
    run = save(tmp_path / "a.pt", "video", config, both, extras)
    for name, why in (("a.pt2", "looks ahead"), ("a.pt", "is named .pt2 or .onnx")):
        assert (
            cli.main("video", video.__main__.COMMANDS, ["export", str(run), str(tmp_path / name)])
            == 2
        )
        assert why in capsys.readouterr().err
    assert run.exists()
    assert not (tmp_path / "a.pt2").exists()


def test_a_labeller_whose_state_does_not_begin_with_zeros_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = video.config.Config(frame_size=16, frame=5, hidden=7)
    encoder = make_encoder("tiny", preprocessing=replace(TINY, size=16))
    trained = build(config, encoder, tuple("abc"))
    assert trained.labeller.recurrent is not None
    start = (torch.ones(1, 1, 7), torch.zeros(1, 1, 7))
    monkeypatch.setattr(trained.labeller.recurrent, "initial_state", lambda batch: start)
    monkeypatch.setattr(video.export, "open_model", lambda *names: (trained, {}))
    arguments = VideoExport(run=tmp_path, file=tmp_path / "a.pt2")
    with pytest.raises(InputError, match="the first state of lstm is not zeros of its width"):
        video.export.main(arguments)


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot make the folder .*file: .*file is a file"):
        export.write(tmp_path / "file/x.pt2", Double(), {"x": torch.ones(1, 2)}, ("y",), {})


def test_a_folder_called_as_a_file_is_refused(tmp_path: Path) -> None:
    for name in ("captions.pt2", "captions.onnx"):
        with pytest.raises(InputError, match=r"written into a folder; call it .*captions, say"):
            captioning.export.main(Export(run=tmp_path / "run", folder=tmp_path / name))


def test_onnx_needs_its_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match='install the extra "onnx"'):
        export.write(tmp_path / "x.onnx", Double(), {"x": torch.ones(1, 2)}, ("y",), {})


def test_one_row_is_a_batch_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export.write(tmp_path / "x.pt2", Double(), {"x": torch.ones(1, 2)}, ("y",), {"unit": "m"})
    assert capsys.readouterr().out == f"{tmp_path / 'x.pt2'}: x [batch, 2]\n"
    program, about = load(tmp_path / "x.pt2")
    assert torch.equal(program(x=torch.ones(1, 2))[0], torch.full((1, 2), 2.0))
    assert about == {"unit": "m"}
