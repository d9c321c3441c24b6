"""The page of one heart: exact to a fraction of a millimetre, complete in one file, without ids, alive in a browser."""

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from beating_heart import FRAMES, add_what_it_was_made_from, write_beating_heart
from PIL import Image

import cof
from browser import NO_WEBGL, WEBGL, needs_browser, visit
from cof.privacy import check_paths
from cof.twins.exports import tables
from cof.twins.exports.heart import Heart
from cof.twins.page import bullseye
from cof.twins.page.html import page
from cof.twins.page.mesh import LOOKS, mesh_data, quantised

ID = str(4_000_000 + 123)
VOID = {"meta", "link", "img", "input", "br", "hr", "path", "line"}


class Elements(HTMLParser):
    """The elements of a page with their attributes and what encloses them, its text and its scripts' text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str], tuple[str, ...]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}, tuple(self.open)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.text += " " + data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page") / "twin"
    write_beating_heart(folder)
    add_what_it_was_made_from(folder)
    return folder


@pytest.fixture(scope="module")
def heart(folder: Path) -> Heart:
    return Heart.read(folder)


@pytest.fixture(scope="module")
def text(heart: Heart) -> str:
    return page(heart)


@pytest.fixture(scope="module")
def elements(text: str) -> Elements:
    return Elements(text)


def decoded(surface: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Keyframes [T, V, 3] and triangles [F, 3], as the script reads them."""

    def numbers(name: str, kind: str) -> np.ndarray:
        return np.frombuffer(base64.b64decode(surface[name].partition(",")[2]), kind)

    first = np.array(surface["centre"]) + numbers("first", "<i2").reshape(-1, 3) * surface["step"]
    deltas = numbers("deltas", "i1").reshape(-1, *first.shape) * surface["delta_step"]
    return np.concatenate([first[None], first + np.cumsum(deltas, axis=0)]), numbers("faces", "<u2").reshape(-1, 3)


def test_keyframes_are_exact_to_half_a_step_in_every_frame() -> None:
    rng = np.random.default_rng(0)
    vertices = np.cumsum(rng.uniform(-3, 3, (30, 50, 3)), axis=0) + rng.uniform(-60, 60, (1, 50, 3))
    faces = rng.integers(0, 50, (90, 3)).astype(np.int32)
    made = quantised(vertices, faces)
    found, triangles = decoded(made)
    np.testing.assert_array_equal(triangles, faces)
    assert np.abs(found - vertices).max() <= made["delta_step"] / 2 + 1e-9
    assert made["delta_step"] < 0.03


def test_a_still_heart_stays_still() -> None:
    vertices = np.broadcast_to(np.random.default_rng(0).normal(0, 30, (40, 3)), (5, 40, 3))
    found, _ = decoded(quantised(vertices, np.zeros((1, 3), np.int32)))
    np.testing.assert_allclose(found, vertices, atol=1e-3)


def test_surfaces_of_the_page_are_those_of_the_heart_seen_by_an_observer(heart: Heart) -> None:
    """x to the patient's left, y to the head, z to the front: a rotation, so that triangles keep their sense."""
    data = mesh_data(heart)
    assert data["frames"] == FRAMES
    for drawn, surface in zip(data["surfaces"], heart.surfaces.values()):
        found, faces = decoded(drawn)
        np.testing.assert_array_equal(faces, surface.faces)
        right, front, head = np.moveaxis(surface.vertices, -1, 0)
        np.testing.assert_allclose(found, np.stack([-right, head, front], axis=-1), atol=0.05)


def test_a_scan_without_orientation_is_put_as_a_heart_lies(heart: Heart) -> None:
    """The apex points down, left and to the front; the RV lies right of the LV, and no mirror image is made of it."""
    unknown = Heart(**{**vars_of(heart), "cine": replaced(heart.cine, oriented=False)})
    data = mesh_data(unknown)
    cavity, _, right = (decoded(surface)[0][0] for surface in data["surfaces"])
    x, y, z = np.array(data["views"]["short axis, from the apex"])
    assert x > 0.5
    assert y < -0.3
    assert z > 0.4
    assert right.mean(0)[0] < cavity.mean(0)[0]
    volumes = [np.linalg.det(decoded(s)[0][0][decoded(s)[1]]).sum() for s in data["surfaces"]]
    assert all(volume > 0 for volume in volumes)


def vars_of(heart: Heart) -> dict[str, Any]:
    return {name: getattr(heart, name) for name in Heart.__dataclass_fields__}


def replaced(cine: Any, **changes: Any) -> Any:
    return type(cine)(**{**{name: getattr(cine, name) for name in type(cine).__dataclass_fields__}, **changes})


def test_colours_are_those_of_the_contours() -> None:
    script = (Path(cof.__file__).parent / "viewer/static/cine.js").read_text()
    colours = re.search(r"COLOURS = \[(.*?)\]", script)
    assert colours is not None
    assert re.findall(r'"(#\w+)"', colours[1]) == [colour for colour, _ in LOOKS.values()]


def test_segments_fill_the_bulls_eye_and_lie_where_their_names_say() -> None:
    drawn = bullseye.segments(np.r_[np.arange(15.0), np.nan], bullseye.THICKENING)
    assert [segment.value for segment in drawn] == [*map(str, range(15)), "–"]
    assert len({segment.name for segment in drawn}) == 16
    places = {segment.name: (segment.x, segment.y) for segment in drawn}
    assert places["basal anterior"][1] < -60  # an SVG counts downwards
    assert places["mid inferior"][1] > 40
    assert places["apical septal"][0] < -20
    assert places["apical lateral"][0] > 20
    assert places["basal anteroseptal"][0] < 0 > places["basal anteroseptal"][1]


def test_bulls_eyes_show_thickening_and_strain_and_say_what_limits_them(heart: Heart, elements: Elements) -> None:
    regional = tables.regional(heart)
    assert regional is not None
    wall, strain = bullseye.charts(regional)
    assert [segment.value for segment in strain.segments] == [
        f"{value:.0f}" for value in regional["strain_circumferential_pct"]
    ]
    assert [segment.value for segment in wall.segments] == [f"{value:.0f}" for value in regional["thickening_pct"]]
    for chart in (wall, strain):
        assert chart.note in elements.text
    assert "hardly show longitudinal strain" in strain.note


def test_shorter_is_darker_in_strain_and_thicker_is_in_thickening() -> None:
    values = np.r_[-25.0, -18.0, -12.0, -5.0, 5.0, np.full(11, np.nan)]
    fills = [segment.fill for segment in bullseye.segments(values, bullseye.SHORTENING)]
    thicker = [
        segment.fill for segment in bullseye.segments(np.r_[70.0, 50, 30, 10, -5, values[5:]], bullseye.THICKENING)
    ]
    assert fills == thicker
    assert len(set(fills[:5])) == 5
    assert set(fills[5:]) == {bullseye.UNKNOWN}


def test_the_page_is_one_small_file_that_names_no_other(text: str) -> None:
    assert len(text.encode()) < 10e6
    markup = re.sub(r"<script>.*?</script>", "", text, flags=re.S)
    for _, attributes, _ in Elements(text).elements:
        for key in ("src", "href", "srcset", "action"):
            assert attributes.get(key, "data:").startswith(("data:", "#"))
    assert not re.search(r"@import|url\(|https?:", markup)
    assert "default-src 'none'" in text


def test_the_same_heart_gives_the_same_bytes(folder: Path, text: str) -> None:
    assert page(Heart.read(folder)) == text


def test_it_says_what_has_to_be_said(elements: Elements) -> None:
    for said in (
        "Synthetic, not for diagnosis",
        "for research alone",
        "labels by a network trained on simulated hearts",
        "repaired: one gap filled",
        "repaired: lead V1 <flat> bridged",
        "irregular rhythm",
        "the cycle begins 2 frames later than recorded",
        "compare with the scan",
    ):
        assert said in elements.text


def test_numbers_are_those_of_the_summary_and_of_the_scan(heart: Heart, elements: Elements) -> None:
    lv = heart.summary["function"]["LV"]
    assert f"EF % {lv['ef_pct']:.0f}" in elements.text
    assert f"LV mass g {lv['mass_g']:.0f}" in elements.text
    assert f"CO L/min {lv['co_l_min']:.1f}" in elements.text
    ef = re.search(r"EF % (\d+) (\d+)", elements.text)
    assert ef is not None
    assert int(ef[2]) < int(ef[1])


def test_every_control_and_picture_has_a_name(elements: Elements) -> None:
    assert elements.open == []
    for tag, attributes, within in elements.elements:
        if tag in ("select", "input"):
            assert "label" in within
        if tag == "canvas" or (tag == "svg" and "aria-hidden" not in attributes):
            assert attributes["role"] == "img"
            assert attributes["aria-label"]


def test_warnings_are_shown_and_an_id_in_them_is_not(heart: Heart, tmp_path: Path) -> None:
    warned = {"of": "labels of the scan", "message": f"EDV of {ID} mL"}
    summary = heart.summary | {"warnings": [warned], "labels": {"doubtful": True}, "notice": f"read from {ID}.zip"}
    made = page(Heart(**{**vars_of(heart), "summary": summary}))
    assert "The labels of this scan are doubtful" in made
    assert "labels of the scan: EDV of" in made
    assert ID not in made
    (tmp_path / "twin.html").write_text(made)
    assert list(check_paths([tmp_path / "twin.html"])) == []


def test_doubtful_slices_are_named_and_marked_in_the_cine(heart: Heart, elements: Elements) -> None:
    number = re.search(r"base \(slice (\d+)\)", elements.text)
    assert number is not None
    slices = [int(number[1]), heart.labels.shape[1]]
    words = f"labels doubtful, slices {slices[0]} and {slices[1]}"
    labels = {"doubtful": False, "doubtful_slices": slices, "message": words}
    made = Elements(page(Heart(**{**vars_of(heart), "summary": heart.summary | {"labels": labels}})))
    assert f"{words.capitalize()} (counted from 1 at the base)" in made.text
    assert f"base (slice {slices[0]}, labels doubtful)" in made.text
    marked = [attributes for tag, attributes, _ in made.elements if tag == "canvas" and attributes.get("class")]
    assert [(attributes["class"], attributes["data-level"]) for attributes in marked] == [("doubted", "0")] * 2
    assert "doubtful" not in elements.text


def test_the_privacy_check_reads_the_page_but_no_picture_in_it(text: str, tmp_path: Path) -> None:
    path = tmp_path / "twin.html"
    path.write_text(text)
    assert list(check_paths([path])) == []
    spelt = base64.b64encode(base64.b64decode(f"AA/{ID}/A")).decode()
    assert ID in spelt
    path.write_text(text.replace("base64,", f"base64,{spelt}", 1))
    assert list(check_paths([path])) == []
    path.write_text(text.replace("<h1>", f"<h1>{ID} "))
    assert len(list(check_paths([path]))) == 1


def test_a_heart_of_images_has_a_page_without_the_3d_view(tmp_path: Path) -> None:
    write_beating_heart(tmp_path / "images", moved=False)
    made = page(Heart.read(tmp_path / "images"))
    assert "There is no 3-D view: the model lfdm generates images and no motion" in made
    assert "three.js" not in made
    assert "compare with the scan" not in made


def test_from_python_the_page_is_a_frame_of_a_notebook_and_a_file(
    folder: Path, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    shown = cof.Heart.read(folder).show()
    assert shown.html == text
    (file,) = tmp_path.glob("heart-*.html")
    assert opened == [file.as_uri()]
    assert file.read_text() == text
    frame = Elements(shown._repr_html_())
    (_, attributes, _), *_ = frame.elements
    assert attributes["srcdoc"] == text
    assert attributes["title"]


def probed(text: str, path: Path, script: str) -> Path:
    """The page with a script that runs every tenth of a second, and timers in place of frames, which a busy headless
    browser may not ask for.
    """
    frames = "window.requestAnimationFrame = (draw) => setTimeout(() => draw(performance.now()), 16);"
    text = text.replace("</title>", f"</title><script>{frames}</script>")
    path.write_text(text.replace("</body>", f"<script>setInterval(() => {{ {script} }}, 100);</script></body>"))
    return path


def console(done: Any) -> list[str]:
    return [line for line in done.stderr.splitlines() if "CONSOLE" in line]


PROBE = """
  const root = document.documentElement;
  if (!window.cof || root.dataset.found) return;
  const { clock } = cof, frames = [];
  const key = (key) => document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  const found = { playing: clock.playing };
  for (const phase of [0, 0.2, 0.45, 0.7, 0.95]) {
    clock.seek(phase);
    frames.push([cof.frame.cine, cof.frame.surfaces]);
  }
  found.frames = frames;
  clock.seek(0);
  key("ArrowRight"); key("ArrowRight"); key("ArrowLeft");
  found.stepped = cof.frame.cine;
  key("ArrowLeft"); key("ArrowLeft");
  found.back = cof.frame.cine;
  key(" ");
  found.toggled = clock.playing;
  key(" ");
  found.still = clock.playing;
  found.hands = [...document.querySelectorAll(".hand")].map((hand) => Number(hand.getAttribute("x1")) > 0).length;
  found.now = document.querySelector('[data-now="volumes"]').textContent;
  document.querySelector("[data-compare]").click();
  found.hidden = document.querySelectorAll("canvas[data-real][hidden]").length;
  found.without = document.querySelector("[data-without]").hidden;
  found.loaded = performance.getEntriesByType("resource").map((entry) => entry.name.slice(0, 5));
  root.dataset.found = JSON.stringify(found);"""


def look(text: str, tmp_path: Path, *options: str) -> tuple[dict[str, Any], list[str]]:
    """What the probe found, and what the console said."""
    path = probed(text, tmp_path / "twin.html", PROBE)
    done = visit(path, tmp_path / "profile", 1280, "--enable-logging=stderr", *options, "--dump-dom")
    found = re.search(r'data-found="([^"]*)"', done.stdout)
    assert found is not None, done.stderr[-2000:]
    return json.loads(found[1].replace("&quot;", '"')), console(done)


@needs_browser
def test_one_clock_drives_everything(text: str, tmp_path: Path) -> None:
    found, said = look(text, tmp_path, *WEBGL)
    assert said == []
    expected = [int(phase * FRAMES) for phase in (0, 0.2, 0.45, 0.7, 0.95)]
    assert found["frames"] == [[frame, frame] for frame in expected]
    assert found["playing"]
    assert (found["stepped"], found["back"]) == (1, FRAMES - 1)
    assert found["toggled"]
    assert not found["still"]
    assert found["hands"] == 2
    assert re.fullmatch(r"LV \d+ mL, RV \d+ mL", found["now"])
    assert found["hidden"] == 3
    assert found["without"]
    assert set(found["loaded"]) <= {"data:", "file:", "blob:"}


@needs_browser
def test_without_webgl_the_rest_works_and_with_reduced_motion_it_waits(text: str, tmp_path: Path) -> None:
    found, said = look(text, tmp_path, *NO_WEBGL, "--force-prefers-reduced-motion")
    assert all("WebGL" in line for line in said)  # three.js reports what it lacks
    assert [frames[1] for frames in found["frames"]] == [None] * 5
    assert [frames[0] for frames in found["frames"]] == [int(phase * FRAMES) for phase in (0, 0.2, 0.45, 0.7, 0.95)]
    assert not found["playing"]
    assert not found["without"]
    assert found["hands"] == 2


@needs_browser
@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_its_window_and_shows_the_surfaces_in_their_colours(text: str, tmp_path: Path, width: int) -> None:
    """A line at the lower edge turns green if nothing sticks out; red and blue surfaces fill a part of the 3-D view."""
    script = f"""
      const light = document.querySelector("#light") || document.body.appendChild(document.createElement("div"));
      light.id = "light";
      window.onresize = () => {{
        const fits = document.documentElement.scrollWidth <= window.innerWidth && window.innerWidth === {width};
        const colour = fits ? "rgb(0,255,0)" : "rgb(255,0,0)";
        light.style = `position: fixed; inset: auto 0 0 0; height: 10px; z-index: 9; background: ${{colour}}`;
      }};
      window.onresize();"""
    path, shot = probed(text, tmp_path / "twin.html", script), tmp_path / "page.png"
    visit(path, tmp_path / "profile", width, *WEBGL, "--force-prefers-reduced-motion", f"--screenshot={shot}")
    with Image.open(shot) as image:
        pixels = np.asarray(image.convert("RGB"), int)
    assert tuple(pixels[1597, width // 2]) == (0, 255, 0)
    red, green, blue = np.moveaxis(pixels[60:600, : 600 if width > 600 else width], -1, 0)
    assert ((red > 140) & (red > green + 60) & (red > blue + 60)).sum() > 3000
    assert ((blue > 140) & (blue > red + 40)).sum() > 3000
