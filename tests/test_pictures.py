"""Pictures of every kind Pillow writes, and every way a file can fail to be one."""

import contextlib
import io

import numpy as np
import pytest
import torch
from PIL import Image

from core.errors import InputError
from datasets.images.files import find_pictures, open_picture, picture_header, to_tensor

RAMP = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20


def save(path, pixels, mode=None, **options):
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def colours(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.pgm", "a.gif"])
def test_grey_formats_give_their_exact_pixels(tmp_path, name):
    picture = open_picture(save(tmp_path / name, RAMP))
    assert picture.mode == "L"
    assert torch.equal(to_tensor(picture)[0], torch.from_numpy(RAMP))


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.ppm", "a.tga"])
def test_colour_formats_give_their_exact_pixels(tmp_path, name):
    pixels = colours(5, 7)
    tensor = to_tensor(open_picture(save(tmp_path / name, pixels)))
    assert tensor.shape == (3, 5, 7)
    assert torch.equal(tensor, torch.from_numpy(pixels).permute(2, 0, 1))


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path):
    values = np.array(
        [[0, 128, 129, 257, 300], [32768, 32896, 65278, 65400, 65535]], dtype=np.uint16
    )
    expected = np.round(values / 257).astype(np.uint8)
    for name in ("a.png", "a.tif", "a.pgm"):
        tensor = to_tensor(open_picture(save(tmp_path / name, values)))
        assert torch.equal(tensor[0], torch.from_numpy(expected)), name


def test_grey_of_unknown_white_is_refused(tmp_path):
    deep = save(tmp_path / "deep.tif", np.array([[0, 70_000]], dtype=np.int32))
    real = save(tmp_path / "real.tif", np.array([[0.0, 0.5]], dtype=np.float32))
    for path in (deep, real):
        with pytest.raises(InputError, match=rf"{path.name}: .*no stated white"):
            open_picture(path)


def test_transparent_pictures_have_a_white_background(tmp_path):
    rgba = np.zeros((1, 3, 4), dtype=np.uint8)
    rgba[0, 1:, :] = [[200, 0, 0, 255], [0, 0, 0, 128]]
    tensor = to_tensor(open_picture(save(tmp_path / "a.png", rgba)))
    assert tensor[:, 0, 0].tolist() == [255, 255, 255]
    assert tensor[:, 0, 1].tolist() == [200, 0, 0]
    assert tensor[:, 0, 2].tolist() == pytest.approx([127, 127, 127], abs=1)

    grey = Image.fromarray(np.array([[[7, 255], [7, 0]]], dtype=np.uint8), "LA")
    picture = open_picture(save(tmp_path / "b.png", grey))
    assert picture.mode == "L"
    assert to_tensor(picture).tolist() == [[[7, 255]]]

    palette = Image.fromarray(np.array([[0, 1]], dtype=np.uint8), "P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    picture = open_picture(save(tmp_path / "c.png", palette, transparency=0))
    assert to_tensor(picture)[:, 0].T.tolist() == [[255, 255, 255], [40, 50, 60]]


def test_cmyk_black_and_white_and_yuv(tmp_path):
    cmyk = Image.new("CMYK", (4, 4), (0, 255, 255, 0))
    red = to_tensor(open_picture(save(tmp_path / "a.jpg", cmyk, quality=100)))
    assert red.shape == (3, 4, 4)
    assert red[0].min() > 240
    assert red[1:].max() < 15

    bits = Image.fromarray(np.array([[0, 255]], dtype=np.uint8)).convert("1")
    assert to_tensor(open_picture(save(tmp_path / "b.png", bits))).tolist() == [[[0, 255]]]


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp", "a.tif"])
def test_an_animation_gives_its_first_frame(tmp_path, name):
    frames = [Image.new("RGB", (6, 5), colour) for colour in ("red", "lime", "blue")]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    tensor = to_tensor(open_picture(tmp_path / name).convert("RGB"))
    assert tensor.shape == (3, 5, 6)
    assert tensor[0].min() > 240
    assert tensor[1:].max() < 15


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(tmp_path, orientation, name):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / name, RAMP, exif=exif, lossless=True)
    stored = torch.from_numpy(RAMP)
    upright = {  # EXIF 2.3, tag 0x0112: where row 0 and column 0 of the stored picture belong
        1: stored,
        2: stored.flip(1),
        3: stored.flip(0, 1),
        4: stored.flip(0),
        5: stored.T,
        6: stored.rot90(-1),
        7: stored.rot90(2).T,
        8: stored.rot90(1),
    }[orientation]
    assert torch.equal(to_tensor(open_picture(path))[0], upright)


def test_one_pixel_and_many_pixels_open(tmp_path):
    assert to_tensor(open_picture(save(tmp_path / "a.png", RAMP[:1, :1]))).shape == (1, 1, 1)
    large = save(tmp_path / "b.png", np.zeros((4096, 4096), dtype=np.uint8))
    assert to_tensor(open_picture(large)).shape == (1, 4096, 4096)


def test_a_decompression_bomb_is_one_line_with_count_and_limit(tmp_path, monkeypatch):
    path = save(tmp_path / "bomb.png", RAMP)
    # Pillow warns above it, of large photographs too.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    open_picture(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)  # and raises above twice as many
    with pytest.raises(InputError, match=r"bomb\.png: .*12 pixels.* limit of 10 pixels"):
        open_picture(path)


def test_a_real_bomb_is_refused(tmp_path):
    path = save(tmp_path / "bomb.png", Image.new("1", (20_000, 10_000)))
    with pytest.raises(InputError, match="200000000 pixels"):
        open_picture(path)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.gif", "a.tif", "a.webp", "a.jp2"])
@pytest.mark.parametrize("keep", [0.05, 0.5, 0.9])
def test_truncated_files_are_one_line(tmp_path, name, keep):
    path = save(tmp_path / name, colours(64, 64))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(InputError, match=rf"{name}: \S") as error:
        open_picture(path)
    assert "\n" not in str(error.value)


def test_what_is_no_picture_is_one_line(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("not a picture\n")
    (tmp_path / "folder.png").mkdir()
    for name, reason in {
        "empty.png": "empty",
        "text.png": "not a picture",
        "folder.png": "is a folder",
        "none.png": "no such file",
        "text.png/none.png": "no such file",
    }.items():
        with pytest.raises(InputError, match=f"{name}: .*{reason}"):
            open_picture(tmp_path / name)


def test_garbage_in_the_middle_never_escapes_as_another_error(tmp_path):
    generator = np.random.default_rng(0)
    for kind in (
        "png",
        "jpeg",
        "gif",
        "bmp",
        "tiff",
        "webp",
        "ppm",
        "tga",
        "ico",
        "icns",
        "jpeg2000",
    ):
        stream = io.BytesIO()
        Image.fromarray(colours(32, 32)).save(stream, kind)
        data = np.frombuffer(stream.getvalue(), dtype=np.uint8)
        for _ in range(40):
            spoilt = data.copy()
            where = generator.integers(0, len(data), 8)
            spoilt[where] = generator.integers(0, 256, 8)
            (tmp_path / "spoilt").write_bytes(spoilt.tobytes())
            with contextlib.suppress(InputError):
                assert open_picture(tmp_path / "spoilt").mode in ("L", "RGB")


@pytest.mark.parametrize("name", ["x" * 5000, "no\0name", ""])
def test_what_cannot_be_a_name_is_one_line(tmp_path, name):
    with pytest.raises(InputError, match=r"no such file|is a folder"):
        open_picture(f"{tmp_path}/{name}")
    if name:
        with pytest.raises(InputError, match="no such file"):
            find_pictures([f"{tmp_path}/{name}"])


def test_find_pictures_expands_folders_in_order(tmp_path):
    for name in (
        "b.png",
        "a.JPG",
        "deep/c.webp",
        "deep/.hidden.png",
        "b.caption.png",
        "notes.txt",
        "other/d.dat",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    inside = [tmp_path / name for name in ("a.JPG", "b.png", "deep/c.webp")]
    assert find_pictures([tmp_path]) == inside
    assert find_pictures([tmp_path / "notes.txt", tmp_path]) == [tmp_path / "notes.txt", *inside]
    with pytest.raises(InputError, match="other: no picture"):
        find_pictures([tmp_path / "other"])
    with pytest.raises(InputError, match="gone: no such file"):
        find_pictures([tmp_path / "gone"])


def test_hidden_folders_are_left_out_as_hidden_files_are(tmp_path):
    shown = tmp_path / ".home" / "photos"
    for folder in (shown, shown / ".thumbnails" / "large"):
        folder.mkdir(parents=True)
        Image.new("RGB", (2, 2)).save(folder / "a.png")
    assert find_pictures([shown]) == [shown / "a.png"]


def test_links_to_folders_are_followed_once(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    folder = tmp_path / "photos"
    for place in (elsewhere / "deep", folder / "own"):
        place.mkdir(parents=True)
        Image.new("RGB", (2, 2)).save(place / "a.png")
    (folder / "linked").symlink_to(elsewhere)
    (folder / "again").symlink_to(folder / "own")
    (folder / "own" / "loop").symlink_to(folder)
    (folder / "own" / "above").symlink_to(tmp_path)
    (elsewhere / "deep" / "loop").symlink_to(elsewhere)
    assert find_pictures([folder]) == [
        folder / "linked" / "deep" / "a.png",
        folder / "own" / "a.png",
    ]
    (tmp_path / "alias").symlink_to(folder)
    assert len(find_pictures([tmp_path / "alias"])) == 2


def test_heic_is_read_as_other_formats_are(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    pixels = np.full((40, 60, 3), (200, 60, 20), dtype=np.uint8)
    pillow_heif.from_pillow(Image.fromarray(pixels)).save(tmp_path / "IMG_0001.HEIC", quality=-1)
    (file,) = find_pictures([tmp_path])
    picture = open_picture(file)
    assert (picture.mode, picture.size) == ("RGB", (60, 40))
    assert np.abs(np.array(picture).astype(int) - pixels).max() < 8
    assert picture_header(file) == (40, 60, False)


def test_headers_tell_what_decoding_gives(tmp_path):
    grey = Image.fromarray(np.zeros((5, 9), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 8
    saved = {
        "grey.png": (grey, {}),
        "sideways.jpg": (grey.convert("RGB"), {"exif": exif}),
        "palette.gif": (grey, {}),
        "deep.png": (Image.fromarray(np.zeros((5, 9), dtype=np.uint16)), {}),
        "cmyk.tif": (grey.convert("CMYK"), {}),
        "alpha.png": (grey.convert("LA"), {}),
    }
    for name, (picture, options) in saved.items():
        picture.save(tmp_path / name, **options)
        opened = open_picture(tmp_path / name)
        header = picture_header(tmp_path / name)
        assert header == (opened.height, opened.width, opened.mode == "L"), name
