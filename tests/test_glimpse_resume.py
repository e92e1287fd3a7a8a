"""A searching model, killed and resumed, ends with the bits of one that was not."""

import torch
from glimpse_command import glimpse, stopped_at

from core.training import checkpoint
from datasets.images import boards


def test_a_search_with_hints_and_augmentation_resumes_to_the_same_bits(tmp_path):
    boards.write_folder(tmp_path / "boards", count=24, size=(96, 96))
    data = ["--data", tmp_path / "boards", "--hints", tmp_path / "boards" / "boxes.csv"]
    steps = ["--steps", "6", "--validate-every", "3", "--batch", "8", "--quiet"]
    size = ["--glimpses", "2", "--patch", "16", "--context", "32", "--filters", "8"]
    search = ["--preset", "search", *data, *steps, *size]
    assert glimpse("train", *search, "--runs", tmp_path / "a") == 0
    with stopped_at(5):
        glimpse("train", *search, "--runs", tmp_path / "b")
    runs = [tmp_path / part / "glimpse" / "search" for part in ("a", "b")]
    assert checkpoint.load(runs[1] / "last.pt", "glimpse")["step"] == 3
    assert glimpse("train", "--resume", runs[1], "--quiet") == 0
    ends = [checkpoint.load(run / "last.pt", "glimpse") for run in runs]
    assert ends[0]["step"] == ends[1]["step"] == 6
    for name, weight in ends[0]["weights"].items():
        assert torch.equal(weight, ends[1]["weights"][name]), name
    assert (runs[0] / "metrics.jsonl").read_bytes() == (runs[1] / "metrics.jsonl").read_bytes()
