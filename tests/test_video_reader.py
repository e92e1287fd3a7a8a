"""Frames of real files: their order, their times, and every way a file can fail."""

import base64
import os
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
from numbered import HEIGHT, KINDS, WIDTH, number, numbered, write
from PIL import Image
from videos import put

from core.errors import InputError
from datasets.videos.files import stated
from video.streams.progress import stated_frames
from video.streams.reader import open_source

# Made with FFmpeg, for OpenCV writes neither: zlib, then base 85. H.264 with B frames at the times
# TIMES, of which frame i is grey 20 i, and three frames of AV1.
TIMES = [0, 10, 200, 230, 240, 500, 520, 533, 700, 1000, 1010, 1500]
H264 = """
c-nnaPe>F|82@Gl)YcVOlXa;zcR?zHC@VWz?3xD+q$2VlLGJFGZC7X9X=Ysdb7+I@-zAI=(XN#U-U>?StbwHIAqhN0mzJO;FGU`t
$k%)G-sa4ve(c-tec$i<|Goi$K-|2dC5@B{AOhv&9Ezl4Evj~;1pq4Ix-0_--71QhM6Q+ZWC5?OjIP!#L}PPf*FG1BwmzH-D%UT}
WBg@t{OHYxQ3=gnKK&{~AYVAw-WGh&d>aqf+*-`zAKxc`y*+c!6J%Jdt5CiBtb~X0BMIZD#!POcdfODkvQDhg!d|m<;|}b}fnEJt
+a3aW!?`zhXl=Q2tvpL>tPAJ9a^(KI$r~d}4ZpvgvV!F+oWbgg!F=I-v$KW<TYdSHPVCaZ`uySi0LOZIG5*>AKHon7QkXz(dwYqm
^ifTv(!@?t(+LC)l9m9<IzRyWTPMM3RVs&IOA<-keWo56Aoug;fR$7FKN`skTj$v@Z-5_wCK;Iq?O#?5bKQf+b!V8bIHsaxgnFo`
wD;p=Ur_70X-n9jK#E>O(n%!SEqjQZ>WmB`MW!}lx0)P`(>G45R#1DHO^9KBq|0$z8}1=p39!3ZWtdTg+@Bk!fowL9>6fs{C}`6G
=p?*zQ;SmaVNCuHlc*;I1TI_v??u9&edtPr=#zv%Sdpgh${7L563c~&*%yCSSE*xN)YSPzeJ+6VIdahq)0#FVH%~vxc;%;!WuZjx
32{B=u)w%WW4v~Xzu*w9fegp6wMtK4Y`q2-+bVa4VO88$<g$n7uHmxi;kEJH4F?(D-p6<&)%!`#SV_)euN?%tY8x)qd&${J{cMNI
JLup_umI~Rma@gCH5?m4Cf(3hRkk>#pnV(32I~<`Q|vEWkt8es7h?1Tg#
"""
AV1 = """
c-oCpKTE?v6n{wtYpGE14?$XqkikKrtvZPk(V>2Tb`nb3OK51WDakcdr`V~B2nAQafP=e}gS%hCq2Iv4p}tF7y+$iOc=!I?@BO)Z
4**n)UAArCr2sN;X$1KK$|7y=7XTn>d8Uc7Oo_o#Db(c0(M>g<EM_wB)Jv)-5`y6F^&>2<ZOfny&U5!LILoL2&!FVqhsBk=ys)If
q0UP{8kF09xFPk?dZVrzU`mGu4FWTi7~;_dOfHFTX%-c?b@-F8yu8Oeqlx+jYeqE_zhvwFi2P4o{i^}ZB+N&dH65P`5#8@t>46g4
Kt-h_{`TV#U@<JeM8<A|INtOou!$)mD`>kVqeUE(W26eTTNWy-0gaN1ZE9qEmnEKQ2~DLto}-R+Y29Zv2lau^d?H|ad@JUB1%I>-
C6uMPh&U;u5kHNfaC(g!G2N@MimQa(*O)i?w$<e^gW|L3OQ-p9Y;wo}*s18}oJC(f=1WYZig#Dyo*{1{?@V;eS9gWjJn~V8Fg~gS
YDSXNmN*t1rDwF;j`+l+jkEs*c(H0D
"""


def unpack(path, text):
    path.write_bytes(zlib.decompress(base64.b85decode(text.replace("\n", ""))))
    return path


@pytest.mark.parametrize(("name", "code"), KINDS)
def test_frames_come_in_order_each_with_its_time(tmp_path, name, code):
    frames = open_source(write(tmp_path / name, code=code))
    assert (frames.size, frames.live, frames.rate) == ((HEIGHT, WIDTH), False, pytest.approx(12.5))
    seen = list(frames)
    assert (
        [frame.index for frame in seen]
        == [number(frame.pixels) for frame in seen]
        == list(range(40))
    )
    assert [frame.seconds for frame in seen] == pytest.approx(
        [i / 12.5 for i in range(40)], abs=5e-4
    )
    assert (frames.read, frames.truncated, frames.remarks) == (40, False, [])
    assert next(frames, None) is None


def test_times_of_variable_rate_are_those_of_the_file(tmp_path):
    frames = open_source(unpack(tmp_path / "a.mp4", H264))
    seen = list(frames)
    assert [frame.seconds for frame in seen] == pytest.approx([t / 1000 for t in TIMES], abs=1e-6)
    assert [frame.pixels.mean() for frame in seen] == pytest.approx(
        [20 * i for i in range(12)], abs=3
    )
    assert frames.remarks == []


def test_times_of_variable_rate_are_those_pillow_wrote(tmp_path):
    durations = [100, 30, 400, 50, 20, 250, 60]
    pictures = [Image.fromarray(numbered(i)) for i in range(len(durations))]
    pictures[0].save(
        tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=durations
    )
    seen = list(open_source(tmp_path / "a.gif"))
    assert [number(frame.pixels) for frame in seen] == list(range(7))
    assert [frame.seconds for frame in seen] == pytest.approx(
        np.cumsum([0, *durations[:-1]]) / 1000
    )


def test_a_stride_keeps_true_indices_and_times(tmp_path):
    path = write(tmp_path / "a.mp4")
    frames = open_source(path, stride=7)
    kept = list(frames)
    every = {frame.index: frame for frame in open_source(path)}
    assert [frame.index for frame in kept] == [0, 7, 14, 21, 28, 35]
    assert frames.read == 40
    for frame in kept:
        assert frame.seconds == every[frame.index].seconds
        assert np.array_equal(frame.pixels, every[frame.index].pixels)


def test_pixels_are_rgb_and_resized_without_cropping(tmp_path):
    picture = np.zeros((40, 60, 3), dtype=np.uint8)
    picture[:, :30], picture[:, 30:] = (250, 10, 10), (10, 10, 250)
    Image.fromarray(picture).save(tmp_path / "1.png")
    (small,) = open_source(tmp_path, size=(10, 12))
    assert (small.pixels.shape, small.pixels.dtype) == ((10, 12, 3), np.uint8)
    assert small.pixels[:, :6].reshape(-1, 3).tolist() == [[250, 10, 10]] * 60
    assert small.pixels[:, 6:].reshape(-1, 3).tolist() == [[10, 10, 250]] * 60
    (large,) = open_source(tmp_path, size=(80, 120))
    assert large.pixels.shape == (80, 120, 3)

    writer = cv2.VideoWriter(str(tmp_path / "a.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (60, 40))
    writer.write(picture[:, :, ::-1])
    writer.release()
    (frame,) = open_source(tmp_path / "a.avi")
    assert np.abs(frame.pixels[:, :24].astype(int) - picture[:, :24]).max() < 12


def test_a_rate_that_is_given_is_not_that_of_a_film_which_states_one(tmp_path):
    path = write(tmp_path / "a.avi", code="MJPG")
    assert open_source(path, rate=5).rate == open_source(path).rate == pytest.approx(12.5)


def test_what_has_no_times_says_so(tmp_path):
    """Bare H.264: the packets of a file, without the container that has their times."""
    path = unpack(tmp_path / "a.mp4", H264)
    packets = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
    bare = b""
    while packets.grab():
        bare += packets.retrieve()[1].tobytes()
    (tmp_path / "a.h264").write_bytes(bare)
    frames = open_source(tmp_path / "a.h264", rate=5)
    seen = list(frames)
    assert [frame.pixels.mean() for frame in seen] == pytest.approx(
        [20 * i for i in range(12)], abs=3
    )
    assert [frame.seconds for frame in seen] == pytest.approx([i / 5 for i in range(12)])
    assert frames.remarks == [
        f"{tmp_path / 'a.h264'}: 11 of 12 frames have no times, taken as 5 a second"
    ]


@pytest.mark.parametrize(
    ("name", "code"), [("a.avi", "MJPG"), ("a.webm", "VP80"), ("a.mkv", "VP80")]
)
def test_of_a_truncated_file_comes_what_there_is(tmp_path, name, code):
    path = write(tmp_path / name, code=code)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    frames = open_source(path)
    assert not frames.truncated
    seen = list(frames)
    assert 10 < len(seen) < 35
    assert [number(frame.pixels) for frame in seen] == list(range(len(seen)))
    assert [frame.seconds for frame in seen] == pytest.approx(
        [i / 12.5 for i in range(len(seen))], abs=5e-4
    )
    assert frames.truncated
    assert frames.remarks == [
        f"{path}: read {len(seen)} of about 40 frames: "
        "it is cut off or damaged, unless it was trimmed or its sound is longer"
    ]


def test_closed_frames_are_over(tmp_path):
    frames = open_source(write(tmp_path / "a.mp4"))
    next(frames)
    frames.close()
    assert list(frames) == []
    assert not frames.truncated


def test_a_codec_that_yields_no_frame_is_one_line(tmp_path):
    path = unpack(tmp_path / "a.mp4", AV1)
    with pytest.raises(InputError) as error:
        open_source(path)
    assert str(error.value) == (
        f"{path}: OpenCV {cv2.__version__} decodes none of its 3 frames (codec AV01); "
        "if it plays elsewhere, ffmpeg -i VIDEO -c:v libx264 CONVERTED.mp4 converts it"
    )


def test_what_is_no_video_is_one_line(tmp_path):
    whole = write(tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[:-1000])  # its index was at the end
    (tmp_path / "none.mp4").write_bytes(write(tmp_path / "nothing.mp4", frames=0).read_bytes())
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text(
        "no video, though FFmpeg takes it for terminal graphics\n" * 20
    )
    (tmp_path / "noise.webm").write_bytes(np.random.default_rng(0).bytes(5000))
    for folder in ("nothing", "folder"):
        (tmp_path / folder).mkdir()
    (tmp_path / "folder" / "film.mp4").touch()
    os.mkfifo(tmp_path / "pipe")
    for name, reason in {
        "cut.mp4": "not a video that OpenCV reads, cut off before the index at its end, or",
        "none.mp4": "not a video that OpenCV reads|no frame",
        "empty.mp4": "the file is empty",
        "text.mp4": "not a video",
        "noise.webm": "not a video",
        "nothing": "no pictures in this folder to take as frames",
        "folder": "a folder of videos, not of frames: name them, as .*film.mp4",
        "pipe": "a device or a FIFO, not a file: name a file, or a camera by its number, as 0",
        "gone.mp4": "no such file",
        "no\0name": "no such file",
        "x" * 5000: "no such file",
    }.items():
        with pytest.raises(InputError, match=reason) as error:
            open_source(tmp_path / name)
        assert str(error.value).startswith(f"{tmp_path / name}: ")
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "wrong", [{"stride": 0}, {"size": (0, 5)}, {"rate": 0.0}, {"rate": float("nan")}]
)
def test_impossible_wishes_are_one_line(tmp_path, wrong):
    with pytest.raises(InputError, match=r"must be at least|must be above"):
        open_source(tmp_path, **wrong)


def test_what_a_film_of_any_name_states(tmp_path):
    for name in ("a:b.mp4", "img%03d.mp4", os.fsdecode(b"\xff.mp4")):
        film = put(tmp_path / name, 12, 10.0)
        assert stated(film, cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_COUNT) == [10.0, 12.0]
        assert stated_frames([film, film]) == 24
    (tmp_path / "no.mp4").write_text("text")
    assert max(stated(tmp_path / "no.mp4", cv2.CAP_PROP_FPS)) <= 0


@pytest.mark.parametrize("name", ["a:b.mp4", "žluť %03d.mp4", "7", os.fsdecode(b"\xff.mp4")])
def test_odd_names_are_names(tmp_path, monkeypatch, name):
    write(tmp_path / "a.mp4", frames=3).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert [number(frame.pixels) for frame in open_source(name)] == [0, 1, 2]


def test_opencv_and_ffmpeg_keep_quiet(tmp_path):
    """In a process of its own, whose standard error is that of the libraries too."""
    unpack(tmp_path / "av1.mp4", AV1)
    data = write(tmp_path / "a.avi", code="MJPG").read_bytes()
    (tmp_path / "cut.avi").write_bytes(data[: len(data) // 2])
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    code = """if True:
        import sys
        from core.errors import InputError
        from video.streams.reader import open_source
        for name in sys.argv[1:]:
            try:
                print(len(list(open_source(name))))
            except InputError as error:
                print("error")
    """
    names = [str(tmp_path / name) for name in ("av1.mp4", "cut.avi", "noise.mp4")]
    done = subprocess.run(
        [sys.executable, "-c", code, *names, "63"], capture_output=True, text=True, check=True
    )
    first, cut, *others = done.stdout.split()
    assert (first, others, done.stderr) == ("error", ["error", "error"], "")
    assert 5 < int(cut) < 30


def test_memory_does_not_grow_with_the_length(tmp_path):
    code = """if True:
        import resource, sys
        from video.streams.reader import open_source
        for name in sys.argv[1:]:
            for frame in open_source(name):
                pass
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    """
    files = [write(tmp_path / f"{frames}.avi", frames, code="MJPG") for frames in (60, 1500)]
    done = subprocess.run(
        [sys.executable, "-c", code, *files], capture_output=True, text=True, check=True
    )
    short, long = map(int, done.stdout.split())
    assert long < 1.05 * short
