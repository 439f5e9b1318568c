"""How a figure is drawn: one panel as SVG, whose text is text and whose colours are those of style.css.

A figure's file has the colours of the light scheme, for slides and papers. On the page the same drawing has the style
sheet's variables in their place, so that it follows the reader's scheme, and the printer's. The same data give the same
bytes: ids come from the figure's name, and there is no date.
"""

from __future__ import annotations

import io
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas

STYLE_SHEET = Path(__file__).parent / "style.css"


def _light_colours(sheet: str) -> dict[str, str]:
    """The variables of the light scheme, which comes first in style.css: name to #rrggbb."""
    return dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", sheet[: sheet.index("@media")]))


COLOURS = _light_colours(STYLE_SHEET.read_text(encoding="utf-8"))
INK, SOFT, LINE, CARD = (COLOURS[name] for name in ("ink", "soft", "line", "card"))
BLUE, ORANGE, GREEN, RED, GREY = (COLOURS[name] for name in ("blue", "orange", "green", "red", "grey"))

WIDTH = 5.0  # inches: 360 of SVG's units, so that text keeps its size on a phone
STYLE: Any = {
    "svg.fonttype": "none",
    "font.size": 12,
    "axes.labelsize": 12,
    "xtick.labelsize": 12,
    "ytick.labelsize": 12,
    "legend.fontsize": 12,
    "axes.edgecolor": GREY,
    "axes.facecolor": CARD,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "legend.frameon": False,
    "lines.solid_capstyle": "butt",
}
SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
ET.register_namespace("", SVG)
ET.register_namespace("xlink", XLINK)


class Figure(NamedTuple):
    """A drawing, and the sentence that says what it shows: its caption, and its text for screen readers."""

    name: str  # of its file, without the ending
    title: str
    finding: str
    svg: str  # a whole file, in the colours of the light scheme
    is_wide: bool = False  # takes the page's whole width

    def inline(self) -> Markup:
        """The drawing as an element of a page that has style.css."""
        root = ET.fromstring(self.svg)
        for parent in list(root.iter()):
            for child in list(parent):
                if child.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style"):
                    parent.remove(child)
        used = set(re.findall(r'(?:url\(|href=")#([^)"]+)', self.svg))
        for element in root.iter():
            if element.get("id") not in used:  # ids such as "axes_1" are in every figure
                element.attrib.pop("id", None)
            if style := element.get("style"):
                element.set("style", _themed(style))
            if path := element.get("d"):
                element.set("d", re.sub(r"(\.\d\d)\d+", r"\1", path))
        if self.is_wide:  # it keeps its size, and scrolls where that is too much
            root.set("style", f"width: {float(root.get('width', '0pt').removesuffix('pt')):.0f}px")
        for name in ("width", "height", "version"):
            root.attrib.pop(name, None)
        root.attrib |= {"role": "img", "aria-label": self.finding, "class": "drawing"}
        return Markup(ET.tostring(root, encoding="unicode"))  # ElementTree has escaped what is text


def _themed(style: str) -> str:
    """A style attribute with the page's variables as colours, and the page's font."""
    for name, colour in COLOURS.items():
        style = style.replace(colour, f"var(--{name})")
    return re.sub(r"font: (?:(\d+) )?([\d.]+px) [^;]*", _font, style)


def _font(shorthand: re.Match[str]) -> str:
    weight, size = shorthand.groups()
    return f"font-size: {size}" + (f"; font-weight: {weight}" if weight else "")


def legend_above(axes: Axes) -> None:
    """A legend on one line above the panel, where it covers no data."""
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderpad=0, columnspacing=1.2, handlelength=1.6)


@contextmanager
def any_letters() -> Iterator[None]:
    """No warnings where matplotlib's own font lacks a letter: on the page, text has the reader's."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield


def drawn(
    name: str, title: str, finding: str, draw: Callable[[Axes], None], *, width: float = WIDTH, height: float = 3.0
) -> Figure:
    """A figure of one panel. `width` and `height` are inches; `draw` is called with the axes.

    Names from data must be drawn with `parse_math=False`: otherwise matplotlib takes what is between two "$" for a
    formula.
    """
    with mpl.rc_context(STYLE | {"svg.hashsalt": name}):
        canvas = Canvas(figsize=(width, height), layout="constrained", facecolor=CARD)
        draw(canvas.add_subplot())
        file = io.StringIO()
        with any_letters():
            FigureCanvasSVG(canvas).print_svg(file, metadata={"Date": None, "Creator": None})
    return Figure(name, title, finding, file.getvalue(), width > WIDTH)
