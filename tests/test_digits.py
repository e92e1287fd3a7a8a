"""Data sets by name: the built-in digits, real MNIST, and small files in each format."""

import gzip
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from core.errors import InputError
from datasets.images.digits import NAMES, load
from datasets.images.splits import Images, hold_out, shuffled


def same(one, other):
    return torch.equal(one.images, other.images) and torch.equal(one.labels, other.labels)


def parts(splits):
    return splits.train, splits.validation, splits.test


def write_idx(path, array, compress=False):
    kind = {"u1": 8, "i4": 12}[array.dtype.str[1:]]
    data = struct.pack(f">BBBB{array.ndim}I", 0, 0, kind, array.ndim, *array.shape)
    data += array.astype(array.dtype.newbyteorder(">")).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(path.name + ".gz" * compress).write_bytes(
        gzip.compress(data) if compress else data
    )


def write_family(folder, train, test, labels="labels-idx1-ubyte", compress=False, first=0):
    """60 training and 10 test images of 4x6; image i is filled with i but for a mark."""
    for prefix, count in ((train, 60), (test, 10)):
        images = np.broadcast_to(
            np.arange(count, dtype=np.uint8)[:, None, None], (count, 4, 6)
        ).copy()
        images[:, 0, -1] = 255
        classes = (np.arange(count) % 10 + first).astype(np.uint8)
        if labels.endswith("int"):
            classes = np.stack([classes, *[np.full(count, 99)] * 7], 1).astype(np.int32)
        write_idx(folder / f"{prefix}-images-idx3-ubyte", images, compress)
        write_idx(folder / f"{prefix}-{labels}", classes, compress)


def test_builtin_digits_are_real_stratified_and_disjoint():
    splits = load("digits")
    assert [len(part) for part in parts(splits)] == [1078, 360, 359]
    for part in parts(splits):
        assert part.images.dtype == torch.uint8
        assert part.images.shape[1:] == (1, 8, 8)
        assert part.labels.dtype == torch.int64
        assert part.classes == tuple("0123456789")
        assert part.images.max() == 255
    counts = torch.stack([part.labels.bincount() for part in parts(splits)])
    assert counts.sum(0).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    ratios = counts / counts.sum(0)
    assert torch.allclose(ratios, torch.tensor([[0.6], [0.2], [0.2]]).expand(3, 10), atol=0.01)
    # Every one of the 1,797 images is in exactly one part (no two of them are equal).
    everything = torch.cat([part.images for part in parts(splits)]).flatten(1)
    assert len(everything.unique(dim=0)) == 1797


def test_splits_do_not_depend_on_the_seed_of_the_run():
    torch.manual_seed(1)
    np.random.seed(1)
    first = load("digits")
    torch.manual_seed(2)
    np.random.seed(2)
    assert all(map(same, parts(first), parts(load("digits"))))
    assert first.train.labels[:8].tolist() == [
        5,
        8,
        8,
        8,
        8,
        5,
        5,
        6,
    ]  # stays so from release to release


def test_hold_out_takes_the_first_of_each_class():
    labels = torch.tensor([0, 1, 0, 1, 0, 1, 0, 0, 0, 0, 0, 2])
    images = Images(
        torch.arange(12, dtype=torch.uint8)[:, None, None, None], labels, ("a", "b", "c")
    )
    held, rest = hold_out(images, 0.25)
    assert held.images.flatten().tolist() == [
        0,
        1,
        2,
        11,
    ]  # a quarter of 8 and 3; at least one of 1
    assert rest.images.flatten().tolist() == [3, 4, 5, 6, 7, 8, 9, 10]
    assert sorted(shuffled(images).images.flatten().tolist()) == list(range(12))


def test_images_are_indexed_and_moved_together():
    train = load("digits").train
    some = train[torch.tensor([5, 2])]
    assert len(some) == 2
    assert torch.equal(some.images[1], train.images[2])
    assert some.labels[0] == train.labels[5]
    moved = load("digits").to("meta")
    assert moved.test.images.device.type == moved.train.labels.device.type == "meta"


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize(
    ("name", "folder", "train", "test"),
    [
        ("mnist", "MNIST", "train", "t10k"),
        ("fashion-mnist", "FashionMNIST", "train", "t10k"),
        ("kmnist", "KMNIST", "train", "t10k"),
    ],
)
def test_the_mnist_format_plain_and_compressed(tmp_path, name, folder, train, test, compress):
    raw = tmp_path / folder / "raw"
    write_family(raw, train, test, compress=compress)
    before = sorted(tmp_path.rglob("*"))
    splits = load(name, root=tmp_path)
    assert sorted(tmp_path.rglob("*")) == before  # nothing is unpacked: the root may be read-only
    assert [len(part) for part in parts(splits)] == [
        50,
        10,
        10,
    ]  # a sixth where 5,000 would be more
    assert splits.train.images.shape == (50, 1, 4, 6)
    assert splits.test.images[:, 0, 1, 0].tolist() == list(range(10))
    for part in parts(splits):
        assert len(part.classes) == 10
        assert torch.equal(part.labels, part.images[:, 0, 1, 0] % 10)
    everything = torch.cat([splits.train.images, splits.validation.images])[:, 0, 1, 0]
    assert sorted(everything.tolist()) == list(range(60))


def test_qmnist_labels_are_the_first_column(tmp_path):
    write_family(tmp_path / "QMNIST" / "raw", "qmnist-train", "qmnist-test", "labels-idx2-int")
    assert load("qmnist", root=tmp_path).test.labels.tolist() == list(range(10))


def test_labels_of_another_data_set_are_refused(tmp_path):
    write_family(tmp_path / "MNIST" / "raw", "train", "t10k", first=40)
    with pytest.raises(
        InputError, match=r"train-labels-idx1-ubyte: labels 40 to 49 are not mnist's"
    ):
        load("mnist", root=tmp_path)


def test_emnist_is_put_upright_and_letters_count_from_zero(tmp_path):
    raw = tmp_path / "EMNIST" / "raw"
    write_family(raw, "emnist-letters-train", "emnist-letters-test", first=1)
    test = load("emnist-letters", root=tmp_path).test
    assert test.images.shape == (10, 1, 6, 4)
    assert test.images.is_contiguous()  # canvases are painted through flat views
    assert (
        test.images[:, 0, -1, 0] == 255
    ).all()  # the mark of the top right is at the bottom left
    assert test.images[:, 0, 0, 0].tolist() == list(range(10))
    assert [test.classes[label] for label in test.labels] == list("abcdefghij")


def test_emnist_classes_are_those_of_torchvision():
    from torchvision.datasets import EMNIST

    from datasets.images.digits import _IDX

    for split in EMNIST.splits:
        expected = [name for name in EMNIST.classes_split_dict[split] if name != "N/A"]
        assert list(_IDX[f"emnist-{split}"][3]) == expected


def test_svhn_and_cifar_through_torchvision(tmp_path, monkeypatch):
    from scipy.io import savemat
    from torchvision.datasets import CIFAR10, SVHN

    pixels = np.random.default_rng(0).integers(0, 256, (60, 3, 32, 32), dtype=np.uint8)
    names = [f"class{label}" for label in range(10)]
    for split, count in (("train", 60), ("test", 20)):
        labels = np.arange(1, count + 1, dtype=np.uint8)[:, None] % 10
        labels[labels == 0] = 10  # as the files call the digit 0
        savemat(
            tmp_path / f"{split}_32x32.mat",
            {"X": pixels[:count].transpose(2, 3, 1, 0), "y": labels},
        )
    batches = tmp_path / "cifar-10-batches-py"
    batches.mkdir()
    for number, file in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]):
        rows = pixels[number * 10 : number * 10 + 10]
        (batches / file).write_bytes(
            pickle.dumps({"data": rows.reshape(10, -1), "labels": list(range(10))})
        )
    (batches / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    # The published check sums are of the whole files; these small ones have others.
    monkeypatch.setattr(SVHN, "split_list", {k: [*v[:2], None] for k, v in SVHN.split_list.items()})
    monkeypatch.setattr(CIFAR10, "train_list", [[file, None] for file, _ in CIFAR10.train_list])
    monkeypatch.setattr(CIFAR10, "test_list", [[file, None] for file, _ in CIFAR10.test_list])
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": None})

    svhn = load("svhn", root=tmp_path)
    assert [len(part) for part in parts(svhn)] == [50, 10, 20]
    assert torch.equal(svhn.test.images, torch.from_numpy(pixels[:20]))
    assert svhn.test.labels.tolist() == [*range(1, 10), 0, *range(1, 10), 0]
    cifar = load("cifar10", root=tmp_path)
    assert [len(part) for part in parts(cifar)] == [40, 10, 10]  # at least one of each class
    assert torch.equal(cifar.test.images, torch.from_numpy(pixels[50:]))
    assert cifar.test.classes == tuple(names)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "digits"])
def test_missing_files_are_one_line_that_says_what_to_put_where(tmp_path, name):
    with pytest.raises(
        InputError, match=rf"{name} is not here.*: put .* into .*--download"
    ) as error:
        load(name, root=tmp_path)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["mnist", "emnist-balanced", "qmnist", "svhn", "cifar10"])
def test_a_failed_download_is_one_line(tmp_path, monkeypatch, name):
    from urllib.error import URLError

    def offline(*_, **__):
        raise URLError("Name or service\nnot known")

    monkeypatch.setattr("urllib.request.urlopen", offline)
    with pytest.raises(
        InputError, match=f"{name} could not be downloaded into .*not known"
    ) as error:
        load(name, root=tmp_path, download=True)
    assert "\n" not in str(error.value)


def test_broken_files_are_one_line_that_names_them(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    write_family(raw, "train", "t10k", compress=True)
    images = raw / "train-images-idx3-ubyte.gz"
    whole = images.read_bytes()
    for spoilt in (
        b"",
        whole[:50],
        b"no gzip at all",
        gzip.compress(gzip.decompress(whole)[:-1]),
        gzip.compress(b""),
    ):
        images.write_bytes(spoilt)
        with pytest.raises(InputError, match=r"train-images-idx3-ubyte .*broken"):
            load("mnist", root=tmp_path)
    images.write_bytes((raw / "t10k-images-idx3-ubyte.gz").read_bytes())
    with pytest.raises(InputError, match="do not match"):
        load("mnist", root=tmp_path)


def test_an_unknown_name_is_one_line_with_the_known_ones():
    with pytest.raises(InputError, match=r"'minst'.*mnist, fashion-mnist"):
        load("minst")
    with pytest.raises(InputError, match="class folders only"):
        load("digits", size=(28, 28))


def real_data():
    """Where the whole MNIST may lie on this machine."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    return Path(os.environ.get("RECURRENT_VISION_DATA", beside)) / "mnist"


@pytest.mark.skipif(
    not (real_data() / "MNIST").exists(), reason="RECURRENT_VISION_DATA has no mnist/MNIST"
)
def test_real_mnist():
    splits = load("mnist", root=real_data())
    assert [len(part) for part in parts(splits)] == [55_000, 5_000, 10_000]
    train = torch.cat([splits.train.labels, splits.validation.labels]).bincount()
    assert train.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert splits.test.labels.bincount().tolist() == [
        980,
        1135,
        1032,
        1010,
        982,
        892,
        958,
        1028,
        974,
        1009,
    ]
    assert splits.test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    # The pixels' mean and deviation, as everyone normalises them.
    pixels = torch.cat([splits.train.images, splits.validation.images]).float() / 255
    assert (pixels.mean().item(), pixels.std().item()) == pytest.approx((0.1307, 0.3081), abs=1e-4)
    # Equal images could be on both sides only if the source had them twice: it does not.
    validation = {image.numpy().tobytes() for image in splits.validation.images}
    assert len(validation) == 5_000
    assert not any(image.numpy().tobytes() in validation for image in splits.train.images)
