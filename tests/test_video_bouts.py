"""Bout statistics, agreement of scorers, and what to label next."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from labeller import call, rows, save_run, write
from sklearn.metrics import cohen_kappa_score

from core.training import cli
from datasets.videos import labelled
from video.bouts import cohens_kappa
from video.labels.annotation_tools import boris_csv
from video.labels.formats import Span
from video.next import Stretch, first_minutes, rank, uncertainty, worth

HEAD = "clip,start_s,end_s,label"


@pytest.fixture
def films(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        write(f"{name}.mp4", 40)
    lines = ["a.mp4,0.5,1.5,walk", "a.mp4,1.5,2,sit", "a.mp4,3,3.5,walk", "b.mp4,1,2,sit"]
    Path("ours.csv").write_text("\n".join([HEAD, *lines]))
    lines = ["a.mp4,0.7,1.5,walk", "a.mp4,1.5,2,sit", "b.mp4,1,2,walk"]
    Path("theirs.csv").write_text("\n".join([HEAD, *lines]))
    return tmp_path


def test_no_labels_and_tables_of_two_kinds_are_one_line(films: Path, capsys):
    assert call(command="video bouts") == 2
    assert (
        capsys.readouterr().err
        == "video bouts: no labels to count: name files or folders of them\n"
    )
    Path("mixed").mkdir()
    events = (
        "Media file,FPS,Behavior,Behavior type,Start (s),Stop (s)\na.mp4,10,walk,STATE,0.5,1.5\n"
    )
    Path("mixed/a.boris.csv").write_text(events)
    Path("mixed/a.onehot.csv").write_text("frame,walk\n0,1\n")
    assert call("mixed", "--films", ".", command="video bouts") == 2
    told = "mixed: a.boris.csv holds events of BORIS and a.onehot.csv does not: name"
    assert told in capsys.readouterr().err
    assert call("mixed/a.boris.csv", "--films", ".", command="video bouts") == 0
    assert "walk" in capsys.readouterr().out


def test_bouts_are_counted_and_measured(films: Path):
    flags = ["--csv", "bouts.csv", "--transitions", "next.csv", "--ethogram", "e.png"]
    assert call("ours.csv", *flags, command="video bouts") == 0
    found = {(row["film"], row["behaviour"]): row for row in rows("bouts.csv")}
    walk = found["a", "walk"]
    assert (walk["bouts"], walk["total_s"], walk["mean_s"]) == ("2", "1.500", "0.750")
    assert (walk["latency_s"], walk["share"]) == ("0.500", "0.3750")
    nothing = found["b", "walk"]
    assert (nothing["bouts"], nothing["mean_s"], nothing["latency_s"]) == ("0", "", "")
    counts = [tuple(row.values()) for row in rows("next.csv")]
    assert counts == [("a", "sit", "walk", "1"), ("a", "walk", "sit", "1")]
    assert call("ours.csv", *flags, command="video bouts") == 2, "they exist now"
    assert call("ours.csv", "--csv", "ours.csv", "--overwrite", command="video bouts") == 2


def test_events_that_were_written_are_counted_film_by_film(films: Path, capsys):
    for folder in ("day1", "day2"):
        Path(folder).mkdir()
    seconds = [n / 10 for n in range(40)]
    for source, bouts in (("day1/a.mp4", [Span(0.5, 1.5, "walk")]), ("day2/a.mp4", [])):
        shutil.copy("a.mp4", source)
        events = boris_csv(bouts, seconds, Path(source), source)
        Path(f"{source[:4]}.boris.csv").write_text(events)
    Path("ours.csv").unlink()
    Path("theirs.csv").unlink()
    assert call(".", "--csv", "out/bouts.csv", command="video bouts") == 0
    found = [(row["film"], row["behaviour"], row["bouts"]) for row in rows("out/bouts.csv")]
    assert found == [("day1/a.mp4", "walk", "1"), ("day2/a.mp4", "walk", "0")]
    assert not capsys.readouterr().err
    assert call(".", "--films", "day1", command="video bouts") == 0
    first, second = Path("day1/a.mp4").absolute(), Path("day2/a.mp4").absolute()
    assert f"{first} and {second} are taken for one film, a.mp4" in capsys.readouterr().err


def test_frames_that_nobody_scored_are_in_no_bout(films: Path):
    names = ["unlabelled"] * 20 + ["walk"] * 10 + ["sit"] * 10
    lines = [f"a.mp4,{n},{name}" for n, name in enumerate(names)]
    Path("frames.csv").write_text("\n".join(["clip,frame,label", *lines]))
    assert call("frames.csv", "--csv", "bouts.csv", command="video bouts") == 0
    found = {row["behaviour"]: row for row in rows("bouts.csv")}
    for name, latency in (("walk", "2.000"), ("sit", "3.000")):
        row = found[name]
        assert (row["bouts"], row["total_s"], row["latency_s"]) == ("1", "1.000", latency)
        assert row["share"] == "0.5000", "of the two seconds that were scored"
    flags = ["--background", "unlabelled", "--csv", "bouts.csv", "--overwrite"]
    assert call("ours.csv", *flags, command="video bouts") == 0
    sit = next(row for row in rows("bouts.csv") if row["film"] == "b" and row["bouts"] == "1")
    assert (sit["behaviour"], sit["total_s"], sit["share"]) == ("sit", "1.000", "1.0000")


def test_labels_may_be_too_few_by_the_excess_that_is_allowed(films: Path, capsys):
    lines = [f"a.mp4,{n},walk" for n in range(39)]
    Path("frames.csv").write_text("\n".join(["clip,frame,label", *lines]))
    assert call("frames.csv", command="video bouts") == 2
    assert "allow it with --excess 1" in capsys.readouterr().err
    assert call("frames.csv", "--excess", "1", "--csv", "bouts.csv", command="video bouts") == 0
    assert [row["total_s"] for row in rows("bouts.csv")] == ["3.900"]


def test_every_film_has_a_row_for_each_behaviour_of_any_film(films: Path):
    for name, lines in (("a", ["a.mp4,0.5,1.5,walk"]), ("b", ["b.mp4,1,2.5,sit"])):
        Path(f"{name}.csv").write_text("\n".join([HEAD, *lines]))
    assert call("a.csv", "b.csv", "--csv", "bouts.csv", command="video bouts") == 0
    found = [(row["film"], row["behaviour"], row["share"]) for row in rows("bouts.csv")]
    expected = [("a", "walk", "0.2500"), ("a", "sit", "0.0000")]
    assert found == [*expected, ("b", "walk", "0.0000"), ("b", "sit", "0.3750")]


def test_what_was_scored_is_judged_by_each_behaviour(films: Path, capsys):
    lines = [f"a.mp4,{n},,{int(n < 10)},{int(n < 5) if n < 20 else ''}" for n in range(40)]
    Path("columns.csv").write_text("\n".join(["clip,frame,dig,walk,sit", *lines]))
    assert call("columns.csv", "--csv", "bouts.csv", command="video bouts") == 0
    found = {row["behaviour"]: (row["total_s"], row["share"]) for row in rows("bouts.csv")}
    assert found == {"dig": ("0.000", ""), "walk": ("1.000", "0.2500"), "sit": ("0.500", "0.2500")}
    assert call("columns.csv", "--against", "columns.csv", command="video bouts") == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    agreement = {line[1]: line[3] for line in lines if line and line[0] == "│"}
    assert agreement == {"dig": "-", "walk": "1.000", "sit": "1.000"}


def test_films_of_one_name_are_told_apart_by_their_folders(films: Path, capsys):
    lines = []
    for folder, start in (("day1", 1), ("day2", 2)):
        Path(folder).mkdir()
        shutil.copy("a.mp4", folder)
        lines.append(f"{folder}/a.mp4,{start}.0,{start + 1}.0,walk")
    Path("days.csv").write_text("\n".join([HEAD, *lines]))
    Path("day2.csv").write_text("\n".join([HEAD, lines[1]]))
    assert call("days.csv", "--csv", "bouts.csv", command="video bouts") == 0
    found = [(row["film"], row["latency_s"]) for row in rows("bouts.csv")]
    assert found == [("day1/a.mp4", "1.000"), ("day2/a.mp4", "2.000")]
    assert call("days.csv", "--against", "day2.csv", command="video bouts") == 0
    told = capsys.readouterr()
    row = next(line for line in told.out.splitlines() if "walk" in line)
    assert "1.000" in row, "the same film is compared"
    assert "films that one scorer alone labelled (1): day1/a.mp4" in told.err


def test_two_scorers(films: Path, capsys):
    assert call("ours.csv", "--against", "theirs.csv", command="video bouts") == 0
    out = capsys.readouterr().out
    ours = torch.zeros(80, dtype=torch.int64)
    theirs = ours.clone()
    ours[5:15] = ours[30:35] = 1
    theirs[7:15] = theirs[50:60] = 1
    kappa = cohen_kappa_score(ours.numpy(), theirs.numpy())
    row = next(line for line in out.splitlines() if "walk" in line)
    assert f"{kappa:.3f}" in row
    assert f"{200 * 8 / (15 + 18):.1f}" in row
    assert "50.0" in row, "one of two bouts each is found by the other"


def test_cohens_kappa_is_that_of_scikit_learn():
    torch.manual_seed(0)
    one = torch.randint(0, 3, (100,)).numpy()
    two = torch.where(torch.rand(100) < 0.6, torch.from_numpy(one), torch.randint(0, 3, (100,)))
    assert cohens_kappa(one, two.numpy()) == pytest.approx(cohen_kappa_score(one, two.numpy()))
    assert cohens_kappa(one, one) == pytest.approx(1)


def test_uncertainty_is_the_probability_to_be_wrong():
    p = torch.tensor([[0.7, 0.3], [0.5, 0.5]])
    assert uncertainty(p.log(), several=False).tolist() == pytest.approx([0.3, 0.5])
    p = torch.tensor([[0.9, 0.4], [0.99, 0.02]])
    assert uncertainty(p.log(), several=True).tolist() == pytest.approx([0.4, 0.02], abs=1e-6)


def stretch(uncertainty: float, place: float, seconds: float = 10.0) -> Stretch:
    return Stretch("film", 0.0, seconds, uncertainty, torch.tensor([place, 0.0]))


def test_uncertain_stretches_come_first_but_not_those_like_what_is_labelled():
    stretches = [stretch(0.3, 0.0), stretch(0.3, 5.0), stretch(0.29, 5.01), stretch(0.1, 9.0)]
    ranked = rank(stretches, torch.tensor([[0.0, 0.0]]))
    assert [float(each.features[0]) for each in ranked[:2]] == [5.0, 9.0]
    assert ranked[-1].score == 0, "one that is labelled already teaches nothing"
    assert len(rank(stretches, torch.zeros(0, 2))) == 4
    assert rank([], torch.zeros(0, 2)) == []


def test_so_many_minutes_are_chosen():
    ranked = [stretch(0.5, n, 30) for n in range(10)]
    assert len(first_minutes(ranked, 2.0)) == 4
    assert len(first_minutes(ranked, 0.1)) == 1
    line = worth([stretch(0.9, 0, 60), *(stretch(0.1, n, 60) for n in range(9))])
    assert line.startswith("half of the expected errors are in 1.0 of 10.0 minutes")


def test_next_refuses_films_of_one_name(films: Path, capsys):
    run = save_run(Path("run"), rate=10.0)
    Path("day2").mkdir()
    shutil.copy("a.mp4", "day2")
    assert call(run, "a.mp4", "day2/a.mp4", command="video next") == 2
    told = "video next: a.mp4 and day2/a.mp4 have one name: rank them apart, or rename one\n"
    assert capsys.readouterr().err == told
    assert not Path("next").exists()


def test_films_whose_names_are_no_text(films: Path):
    film = Path(os.fsdecode(b"\xff.mp4"))
    shutil.copy("a.mp4", film)
    film.with_suffix(".srt").write_text("1\n00:00:00.500 --> 00:00:01.500\nwalk\n")
    flags = ["--csv", "tables/bouts.csv", "--transitions", "tables/next.csv"]
    assert cli.script("video bouts", [str(film.with_suffix(".srt")), *flags]) == 0
    assert [row["film"] for row in rows("tables/bouts.csv")] == ["?"]
    run = save_run(Path("run"), rate=10.0)
    assert cli.script("video next", [str(run), str(film), "--stretch", "2"]) == 0
    assert {row["film"] for row in rows("next/next.csv")} == {"?.mp4"}


def test_folders_to_write_to_are_made_before_the_work(films: Path, capsys, monkeypatch):
    run = save_run(Path("run"), rate=10.0)
    Path("file").write_text("")
    for module in ("bouts", "next"):
        monkeypatch.setattr(f"video.{module}.open_source", None)  # no film is opened
    assert call("ours.csv", "--csv", "file/bouts.csv", command="video bouts") == 2
    assert "cannot make the folder file: file is a file" in capsys.readouterr().err
    assert call(run, "a.mp4", "--out", "file", command="video next") == 2
    assert "--out takes a folder: file is a file" in capsys.readouterr().err


def test_next_writes_tables_that_open_again(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run = save_run(tmp_path / "run", rate=10.0)
    for name in "ab":
        write(f"{name}.mp4", 60)
    monkeypatch.setattr("video.next.LABELLED_CLIPS", 2)
    flags = ["--minutes", "0.1", "--stretch", "2"]
    assert call(run, "a.mp4", "b.mp4", "none.mp4", *flags, command="video next") == 1
    told = capsys.readouterr()
    assert "none.mp4" in told.err
    chosen = rows("next/next.csv")
    assert len(chosen) == 3
    assert sum(float(row["end_seconds"]) - float(row["start_seconds"]) for row in chosen) == 6
    uncertain = [float(row["uncertainty"]) for row in chosen]
    assert all(0 < value < 1 for value in uncertain)
    parts = labelled.read_labels("next/next.boris.csv", films=Path())
    assert parts.classes[1] == "to score"
    for name in {row["film"] for row in chosen}:
        clip = labelled.read_labels(f"next/{Path(name).stem}.next.eaf", films=Path())
        assert clip.everything().clips[0].source == Path(name)
