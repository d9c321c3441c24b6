"""The preview: small pictures that say what they are, in the right rhythm, and the same bytes every time."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from beating_heart import FRAMES, RR_MS, SHAPE, add_what_it_was_made_from, write_beating_heart
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from small_heart import small_heart, untimed

from cof.cine.volume import uniform_times
from cof.twins.exports import preview
from cof.twins.exports.heart import SYNTHETIC, Heart
from cof.twins.exports.preview import COLOURS, film_times, write
from cof.twins.summary import reference_record
from cof.twins.text import WIDTH


@pytest.fixture(scope="module")
def heart(tmp_path_factory: pytest.TempPathFactory) -> Heart:
    folder = tmp_path_factory.mktemp("preview") / "twin"
    write_beating_heart(folder)
    add_what_it_was_made_from(folder)
    return Heart.read(folder)


@pytest.fixture(scope="module")
def pictures(heart: Heart, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    png, gif = write(heart, tmp_path_factory.mktemp("pictures"))
    return png, gif


def test_both_say_that_the_heart_is_synthetic_and_are_small(pictures: tuple[Path, Path]) -> None:
    png, gif = pictures
    with Image.open(png) as image:
        assert SYNTHETIC in image.info["Title"]
        assert "research software" in image.info["Description"]
        assert "Software" not in image.info
        bright = np.asarray(image.convert("L"))[:45]  # the title, in large white letters
        assert (bright > 200).sum() > 1000
    with Image.open(gif) as film:
        assert SYNTHETIC.encode() in film.info["comment"]
        for frame in range(film.n_frames):
            film.seek(frame)
            assert (np.asarray(film.convert("L"))[: preview._BAND] > 200).sum() > 200
    assert png.stat().st_size < 10**6
    assert gif.stat().st_size < 3 * 10**6


def test_the_film_has_all_frames_in_the_time_of_a_beat(pictures: tuple[Path, Path]) -> None:
    with Image.open(pictures[1]) as film:
        durations = []
        for frame in range(film.n_frames):
            film.seek(frame)
            durations.append(film.info["duration"])
        assert film.n_frames == FRAMES
        assert film.info["loop"] == 0
    assert abs(sum(durations) - RR_MS) <= 10
    np.testing.assert_allclose(durations, RR_MS / FRAMES, atol=10)


@given(st.integers(1, 60), st.floats(300, 2000))
def test_no_film_is_faster_or_slower_than_its_heart(frames: int, rr_ms: float) -> None:
    times = uniform_times(frames, rr_ms)
    chosen, durations = film_times(times, rr_ms)
    assert chosen[0] == 0
    assert chosen == sorted(set(chosen))
    assert max(chosen) < frames
    assert abs(sum(durations) - rr_ms) <= 5
    assert min(durations) >= 20  # below that, browsers show a frame for 100 ms
    shown_at = np.cumsum([0, *durations[:-1]])
    np.testing.assert_allclose(shown_at, times[chosen], atol=5 + 1e-9)


def test_contours_have_their_colours_in_every_tile(heart: Heart, pictures: tuple[Path, Path]) -> None:
    """All three slices of the film hold LV and wall at ED; the RV ends before the apex."""
    with Image.open(pictures[1]) as film:
        rgb = np.asarray(film.convert("RGB"))
    lv, wall, rv = (tuple(int(colour[at : at + 2], 16) for at in (1, 3, 5)) for colour in COLOURS)
    tiles = np.split(rgb, 3, axis=1)
    for tile in tiles:
        for colour in (lv, wall):
            assert (tile == colour).all(axis=-1).sum() > 30
    assert (tiles[0] == rv).all(axis=-1).any()
    assert SHAPE[0] == heart.labels.shape[1]


def test_the_same_bytes_every_time(heart: Heart, pictures: tuple[Path, Path], tmp_path: Path) -> None:
    assert [path.read_bytes() for path in write(heart, tmp_path)] == [path.read_bytes() for path in pictures]


def test_a_heart_of_unknown_duration_and_few_voxels(tmp_path: Path) -> None:
    png, gif = write(untimed(small_heart()), tmp_path)
    with Image.open(gif) as film:
        assert film.n_frames == 4
    assert png.is_file()


@pytest.mark.parametrize("width", [120, 135, 208])
def test_no_line_of_the_film_is_cut_off(width: int) -> None:
    """The doubt about a slice is the end of its line; its last pixels are dark, where a cut line has letters."""
    band = preview._band("slice 12, labels doubtful", width)
    assert band.shape == (preview._BAND, width)
    columns = np.flatnonzero(band.any(axis=0))
    assert columns[-1] < width - 4
    assert columns[-1] - columns[0] > 90  # and it is not left out


def test_the_words_of_the_picture_hold_the_doubt_and_explain_the_marks(heart: Heart) -> None:
    """A list of many slices is wrapped, so that it does not shrink all numbers."""
    doubt = "labels doubtful, slices " + ", ".join(map(str, range(1, 40)))
    told = {"reference": reference_record(), "labels": {"doubtful": False, "doubtful_slices": [], "message": doubt}}
    words = preview._words(replace(heart, summary=heart.summary | told))
    assert max(map(len, words)) <= WIDTH
    assert doubt in " ".join(words)
    assert "H, L: the generated value is above, below the range" in words


def test_dollars_in_a_notice_are_no_formula(tmp_path: Path) -> None:
    """Text between two dollar signs is a formula to matplotlib, which raises an error at one that it cannot read."""
    heart = small_heart()
    terms = {"terms": ["free up to $\\no$ of sales"]}
    png, _ = write(replace(heart, summary=heart.summary | terms), tmp_path)
    assert png.is_file()
