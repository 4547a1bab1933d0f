"""An episode on a page: frames with controls to play and to scrub them, or plots of its numbers."""

from __future__ import annotations

import json

import numpy as np

from rl_datasets.markup import Content, Html, element
from rl_datasets.showing import drawing, pictures
from rl_datasets.showing.pictures import Episodes

_SMALL = 100  # Pixels: frames of less are shown three times as wide, and not twice.
STYLE = """\
canvas { image-rendering: pixelated; max-width: 100%; height: auto; border: 1px solid var(--line) }
.player [type=range] { width: min(30em, 70%); vertical-align: middle }
.player output { display: block; min-height: 1.5em; font-variant-numeric: tabular-nums }
button { font: inherit; padding: 0.2em 0.8em }
"""
SCRIPT = """\
for (const player of document.querySelectorAll('.player')) {
  const {width, height, gap, columns, captions} = JSON.parse(player.dataset.sheet);
  const sheet = player.querySelector('img'), canvas = player.querySelector('canvas');
  const [play, place, said] = ['button', 'input', 'output'].map(of => player.querySelector(of));
  const draw = () => {
    const at = +place.value, row = Math.floor(at / columns), column = at % columns;
    canvas.getContext('2d').drawImage(sheet, column * (width + gap), row * (height + gap),
      width, height, 0, 0, width, height);
    said.textContent = place.ariaValueText = captions[at];
  };
  let timer = 0;
  const stop = () => { clearInterval(timer); timer = 0; play.textContent = 'Play'; };
  play.addEventListener('click', () => {
    if (timer) { stop(); return; }
    play.textContent = 'Pause';
    timer = setInterval(() => { place.value = (+place.value + 1) % captions.length; draw(); }, 100);
  });
  place.addEventListener('input', () => { stop(); draw(); });
  const begin = () => { player.querySelector('.screen').hidden = false; draw(); };
  if (sheet.complete) begin(); else sheet.addEventListener('load', begin);
}
"""


def section(shown: Episodes, sheet: str) -> list[Content]:
    """The section of a page.

    Args:
      shown: the episode.
      sheet: address of the PNG of its frames, from the page.
    """
    told = element("p", f"{shown.what[0].upper()}{shown.what[1:]}; {shown.drawn_by}.")
    if shown.frame is None:
        plots = [
            drawing.line(name, np.array(values), "step") for name, values in shown.traces.items()
        ]
        return [told, element("div", plots, class_="plots")]
    alt = f"{len(shown.captions)} frames side by side: {shown.what}"
    strip = element("img", src=sheet, alt=alt)
    if not shown.is_in_order:
        return [told, element("figure", strip)]
    of_sheet = {
        "height": shown.frame[0],
        "width": shown.frame[1],
        "gap": pictures.GAP,
        "columns": pictures.COLUMNS,
        "captions": shown.captions,
    }
    all_frames = element("details", element("summary", "All frames"), element("figure", strip))
    data = json.dumps(of_sheet)
    return [told, element("div", _screen(shown), all_frames, class_="player", data_sheet=data)]


def _screen(shown: Episodes) -> Html:
    """One frame with its controls, which the script shows; without it, there is the sheet."""
    assert shown.frame is not None
    height, width = shown.frame
    zoom = 3 if width < _SMALL else 2
    canvas = element(
        "canvas",
        width=width,
        height=height,
        style=f"width: {zoom * width}px",
        role="img",
        aria_label=f"One frame of {shown.what}",
    )
    last = len(shown.captions) - 1
    return element(
        "div",
        canvas,
        element(
            "p",
            element("button", "Play", type="button"),
            " ",
            element("input", type="range", min=0, max=last, value=0, aria_label="Frame"),
            element("output"),
        ),
        class_="screen",
        hidden=True,
    )
