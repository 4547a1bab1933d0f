"""A site as a browser shows it from the disk: Chromium, without a window and a network."""

import html
import json
import pathlib
import re
import shutil
import subprocess

import PIL.Image
import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--virtual-time-budget=5000",
]
NARROW, WIDE = (500, 900), (1280, 900)  # Widths and heights; no window of Chromium's is narrower.

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="a browser: install Debian's chromium")

# What a test finds out in the page; the text of the element with this id is read from the dump.
FOUND = """\
<script>
addEventListener('load', () => setTimeout(() => {
  const found = (() => { %s })();
  const told = document.createElement('pre');
  told.id = 'found';
  told.textContent = JSON.stringify(found);
  document.body.append(told);
}, 100));
</script>
"""
LEFT = "[...document.querySelectorAll('tbody tr')].filter(row => !row.hidden)"
SEARCH = f"""\
const find = words => {{
  const search = document.querySelector('input');
  search.value = words;
  search.dispatchEvent(new Event('input'));
  return {LEFT}.length;
}};
"""


@pytest.fixture(scope="module")
def browse(made, tmp_path_factory):
    """Opens a copy of a page, runs some JavaScript in it, and gives what that returns."""
    folder = tmp_path_factory.mktemp("browser")
    site = shutil.copytree(made[0], folder / "site")

    def browse(page, script, size=WIDE):
        path = next(site.glob(page))
        copy = path.with_name("copy.html")
        copy.write_text(path.read_text(encoding="utf-8") + FOUND % script, encoding="utf-8")
        dom, log = run(folder, "--dump-dom", copy, size)
        assert [line for line in log.splitlines() if "CONSOLE" in line] == []
        told = re.search(r'<pre id="found">(.*?)</pre>', dom, re.DOTALL)
        assert told, dom[-2000:]
        return json.loads(html.unescape(told[1]))

    return browse


def run(
    folder: pathlib.Path, what: str, page: pathlib.Path, size: tuple[int, int]
) -> tuple[str, str]:
    options = [f"--user-data-dir={folder / 'profile'}", "--window-size={},{}".format(*size)]
    command = [str(CHROMIUM), *FLAGS, *options, what, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_the_index_finds_what_has_every_word(browse):
    found = browse(
        "index.html",
        f"{SEARCH} const some = find('SYNTHETIC  many');"
        "const told = document.querySelector('output').textContent;"
        "return [some, told, find('no such thing'), find(''), document.title]",
    )
    assert found == [1, "1 of 4 versions", 0, 4, "Data sets"]


def test_the_index_sorts_numbers_as_numbers_and_keeps_the_unreadable_last(browse):
    episodes = f"{LEFT}.map(row => row.cells[4] ? row.cells[4].textContent : null)"
    up, down, marked = browse(
        "index.html",
        "const button = document.querySelectorAll('th button')[4];"
        f"button.click(); const up = {episodes}; button.click(); const down = {episodes};"
        "const sorted = [...document.querySelectorAll('[aria-sort]')];"
        "return [up, down, sorted.map(th => [th.textContent, th.getAttribute('aria-sort')])]",
    )
    assert up == ["4", "8", "20", None]
    assert down == ["20", "8", "4", None]
    assert marked == [["episodes", "descending"]]


def test_a_page_shows_its_frames_and_scrubs_them(browse):
    images, title, first, last, is_playing, has_stopped, pixels = browse(
        "versions/synthetic-many-*.html",
        "const [canvas, place, said, play] ="
        "  ['canvas', 'input', 'output', 'button'].map(of => document.querySelector(of));"
        "const first = said.textContent;"
        "place.value = place.max; place.dispatchEvent(new Event('input'));"
        "const last = said.textContent;"
        "play.click(); const playing = play.textContent; play.click();"
        "return [[...document.images].map(image => image.naturalWidth), document.title, first,"
        "  last, playing, play.textContent, [canvas.width, canvas.height]];",
    )
    assert images == [8 * 4 + 7 * 2]
    assert title == "synthetic/many:1.0.0"
    assert first.startswith("step 0 of 7, return so far 0.0, action ")
    assert last.startswith("step 7 of 7, ")
    assert last.endswith("the end")
    assert (is_playing, has_stopped) == ("Pause", "Play")
    assert pixels == [4, 4]


@pytest.mark.parametrize("page", ["index.html", "versions/synthetic-many-*.html"])
@pytest.mark.parametrize("size", [NARROW, WIDE])
def test_a_page_is_no_wider_than_the_screen(browse, page, size):
    inner, whole = browse(page, "return [innerWidth, document.body.scrollWidth]", size)
    assert inner == size[0]
    assert whole <= inner


def test_a_screenshot_is_not_blank(made, tmp_path):
    (page,) = made[0].glob("versions/synthetic-many-*.html")
    run(tmp_path, f"--screenshot={tmp_path / 'shot.png'}", page, WIDE)
    with PIL.Image.open(tmp_path / "shot.png") as shot:
        assert shot.size == WIDE
        assert len(shot.convert("RGB").getcolors(1 << 20)) > 50
