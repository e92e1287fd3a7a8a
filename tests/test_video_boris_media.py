"""Where in which film the times of BORIS' observations are."""

import pytest
from videos import put, text

from core.errors import InputError
from datasets.videos import labelled

RATE = 10.0
FRAMES = 20
TABULAR = (
    "Observation id,Source,Time offset (s),Media duration (s),Subject,Behavior,Modifier #1,"
    "Behavior type,Time,Media file name"
)
AGGREGATED = (
    "Observation id,Source,Time offset (s),Media duration (s),Behavior,Behavior type,"
    "Start (s),Stop (s),Media file name"
)


def written(folder, name):
    """The first letter of each frame's label."""
    splits = labelled.load(folder)
    clip = next(clip for clip in splits.clips if clip.name == name)
    found = clip.labels([n / RATE for n in range(FRAMES)])
    return "".join(splits.classes[n][0] for n in found)


def films(folder, *names):
    for name in names:
        put(folder / name, FRAMES, RATE)


def test_times_run_through_the_media_of_the_first_player(tmp_path, capsys):
    films(tmp_path, "a.mp4", "b.mp4", "c.mp4", "d.mp4")
    source = "player #1:/x/a.mp4;/x/b.mp4|player #2:/x/side.mp4"
    about = f"o1,{source},0,2.000;2.000|4.000,x"
    rows = [
        TABULAR,
        f"{about},walk,,START,1.5,/x/a.mp4",
        f"{about},walk,,STOP,2.4,/x/b.mp4",
        f"{about},nod,,POINT,3.0,/x/b.mp4",
        "o2,player #1:/x/c.mp4,0,2.000,x,walk,,POINT,0.5,/x/c.mp4",
        "o3,player #1:/x/d.mp4,0,2.000,x,walk,,POINT,0.5,/x/d.mp4",
    ]
    text(tmp_path / "events.csv", "\n".join(rows))
    assert written(tmp_path, "a.mp4") == "b" * 15 + "w" * 5
    assert written(tmp_path, "b.mp4") == "wwwwbbbbbbnbbbbbbbbb"
    told = "left out: media of other players than the first (1): /x/side.mp4"
    assert told in capsys.readouterr().err


def test_what_goes_on_after_the_last_of_several_media_is_an_error(tmp_path):
    films(tmp_path, "a.mp4", "b.mp4", "c.mp4", "d.mp4")
    rows = [
        AGGREGATED,
        "o1,player #1:a.mp4;b.mp4,0,2;2,walk,STATE,7.0,8.0,Not found",
        "o2,player #1:c.mp4,0,2,walk,STATE,0.5,0.7,c.mp4",
        "o3,player #1:d.mp4,0,2,walk,STATE,0.5,0.7,d.mp4",
    ]
    text(tmp_path / "events.csv", "\n".join(rows))
    with pytest.raises(InputError, match=r"b\.mp4: 1\.9 seconds long, but .* up to 6; correct"):
        written(tmp_path, "b.mp4")


def test_media_that_an_old_export_names_only_for_their_events_are_refused(tmp_path):
    films(tmp_path, "a.mp4", "b.mp4")
    heading = "Observation id,Media file,Total length,Behavior,Behavior type,Start (s),Stop (s)"
    rows = [heading, "o1,a.mp4,4,walk,STATE,1,1.5", "o1,b.mp4,4,walk,STATE,2.5,2.9"]
    file = text(tmp_path / "events.csv", "\n".join(rows))
    with pytest.raises(InputError) as caught:
        labelled.load(tmp_path)
    reason = "observation o1 has several media, each named only for its events"
    assert str(caught.value) == f"{file}: line 3: {reason}: export it with BORIS 8.10 or later"


def test_media_without_players_are_listed_in_the_source(tmp_path):
    films(tmp_path, "a.mp4", "b.mp4", "c.mp4", "d.mp4")
    about = "o1,a.mp4;b.mp4,0,2.0;2.0,x"
    rows = [
        TABULAR,
        f"{about},walk,,START,2.5,b.mp4",
        f"{about},walk,,STOP,2.9,b.mp4",
        "o2,c.mp4,0,2.0,x,walk,,POINT,0.5,c.mp4",
        "o3,d.mp4,0,2.0,x,walk,,POINT,0.5,d.mp4",
    ]
    text(tmp_path / "events.csv", "\n".join(rows))
    assert written(tmp_path, "a.mp4") == "b" * 20
    assert written(tmp_path, "b.mp4") == "bbbbbwwwwbbbbbbbbbbb"


def test_subjects_and_observations_of_one_film_are_taken_together_and_a_line_says_so(
    tmp_path, capsys
):
    films(tmp_path, "a.mp4", "b.mp4", "c.mp4")
    rows = [
        AGGREGATED.replace("Behavior,", "Subject,Behavior,"),
        "o1,player #1:a.mp4,0,2,ann,walk,STATE,0.2,0.5,a.mp4",
        "o1,player #1:a.mp4,0,2,bob,walk,STATE,0.4,0.7,a.mp4",
        "o2,player #1:b.mp4,0,2,ann,walk,STATE,0.2,0.5,b.mp4",
        "o3,player #1:b.mp4,0,2,ann,walk,STATE,0.2,0.6,b.mp4",
        "o4,player #1:c.mp4,0,2,ann,walk,STATE,0.2,0.5,c.mp4",
    ]
    file = text(tmp_path / "events.csv", "\n".join(rows))
    assert written(tmp_path, "a.mp4") == "bbwwwww" + "b" * 13
    assert capsys.readouterr().err.splitlines() == [
        f"warning: {file}: subjects are taken together in a.mp4 (ann, bob)",
        f"warning: {file}: observations are taken together in b.mp4 (o2, o3)",
    ]


def test_the_time_offset_of_an_observation_is_subtracted(tmp_path):
    films(tmp_path, "a.mp4", "b.mp4", "c.mp4")
    rows = [AGGREGATED.replace(",", ";")]
    rows += [f"o;player #1:{name}.mp4;100,5;2,0;walk;STATE;101,0;101,5;Not found" for name in "abc"]
    file = text(tmp_path / "events.csv", "\n".join(rows))
    assert written(tmp_path, "a.mp4") == "bbbbbwwwwwbbbbbbbbbb"
    file.write_text(file.read_text().replace("101,0", "99,0"))
    with pytest.raises(InputError, match=r"line 2: start_s is 99,0, before the time offset of 100"):
        labelled.load(tmp_path)


def test_states_of_one_behaviour_with_other_modifiers_are_states_of_their_own(tmp_path):
    films(tmp_path, "a.mp4", "b.mp4", "c.mp4")
    rows = [TABULAR]
    for name in "abc":
        about = f"o{name},player #1:{name}.mp4,0,2,x,walk"
        rows += [
            f"{about},fast,START,0.2,{name}.mp4",
            f"{about},slow,START,0.4,{name}.mp4",
            f"{about},fast,STOP,0.6,{name}.mp4",
            f"{about},slow,STOP,1.0,{name}.mp4",
        ]
    text(tmp_path / "events.csv", "\n".join(rows))
    assert written(tmp_path, "a.mp4") == "bbwwwwwwwwbbbbbbbbbb"


def test_a_long_comment_is_read(tmp_path):
    films(tmp_path, "a.mp4", "b.mp4", "c.mp4")
    rows = [f"{AGGREGATED},Comment"]
    for name in "abc":
        about = f"o{name},player #1:{name}.mp4,0,2,walk,STATE,0.2,0.5,{name}.mp4"
        rows.append(f"{about},{'x' * 200_000}")
    text(tmp_path / "events.csv", "\n".join(rows))
    assert written(tmp_path, "a.mp4") == "bbwww" + "b" * 15


def test_films_of_one_name_in_several_folders(tmp_path, capsys):
    films(tmp_path, "day1/cam.mp4", "day2/cam.mp4", "day3/cam.mp4")
    rows = [AGGREGATED]
    for n in (1, 2, 3):
        path = f"C:\\films\\day{n}\\cam.mp4"
        rows.append(f"o{n},player #1:{path},0,2,walk,STATE,0.{n},0.9,{path}")
    text(tmp_path / "events.csv", "\n".join(rows))
    assert written(tmp_path, "day1/cam.mp4") == "b" + "w" * 8 + "b" * 11
    assert written(tmp_path, "day3/cam.mp4") == "bbb" + "w" * 6 + "b" * 11
    assert not capsys.readouterr().err
    films(tmp_path, "flat/cam.mp4", "flat/x.mp4", "flat/y.mp4")
    rows += [f"o{name},player #1:{name}.mp4,0,2,walk,POINT,1,1,{name}.mp4" for name in "xy"]
    text(tmp_path / "flat" / "events.csv", "\n".join(rows))
    labelled.load(tmp_path / "flat")
    told = "day1\\cam.mp4 and C:\\films\\day2\\cam.mp4 and C:\\films\\day3\\cam.mp4 are taken for"
    assert told in capsys.readouterr().err
