"""How odd one seed is, and where."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_seedlab.ui.cuts import HeatScale, Picture, PictureRow, under_heat
from napari_seedlab.ui.method_words import WORDS
from napari_seedlab.ui.reading import FAINT
from napari_seedlab.ui.section import Section, dim, wrapped
from napari_seedlab.ui.theme import DARK, Theme

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

    from napari_seedlab.session.session import Session
    from napari_seedlab.ui.reading import Heated

HEIGHT_PX = 120
N_NAMED = 10  # the oddest are counted, the others compared
ENDINGS = {1: "st", 2: "nd", 3: "rd"}


def rank_text(share: float, n: int) -> str:
    """Words for a rank: `share` of `n` seeds are at most as odd, the seed itself included.

    >>> rank_text(0.98, 100)
    'the 3rd oddest of 100 seeds'
    """
    place = place_of(share, n)
    if place <= 1:
        return f"the oddest of {n:,} seeds"
    if place <= min(N_NAMED, n // 2):
        return f"the {place}{ENDINGS.get(place, 'th')} oddest of {n:,} seeds"
    below = (n - place) / max(n - 1, 1)
    if below >= 0.5:
        return f"odder than {below:.0%} of {n:,} seeds"
    return f"less odd than {1 - below:.0%} of {n:,} seeds"


def place_of(share: float, n: int) -> int:
    """Place of a seed from the oddest, 1, on: `share` of `n` seeds are at most as odd."""
    return n - round(share * n) + 1


class OddSection(Section):
    """Score, rank in words by each method, and the cut through the oddest voxel without and with its heat."""

    def __init__(self, theme: Theme = DARK, parent: QWidget | None = None) -> None:
        super().__init__("Oddness", theme, parent)
        self.words, self.others = wrapped(self), wrapped(self)
        self.pictures, self._scale = PictureRow(HEIGHT_PX, theme, self), HeatScale(theme, self)
        self._without = wrapped(self)
        self._without.setText(dim("No heatmap of this scan.", theme))
        for widget in (self.words, self.others, self.pictures, self._scale, self._without):
            self.content.addWidget(widget)
        self.show_pictures(None)

    def show_seed(self, session: Session | None, seed: int | None) -> None:
        """Write score and rank."""
        found = None if session is None else session.anomaly
        if found is None or seed is None:
            self.lack("No scores yet: press “Find odd ones” in the Train dock.")
            return
        i = found.row.get(seed)
        if i is None:
            self.lack("This seed has no score: press “Find odd ones” in the Train dock again.")
            return
        rank = rank_text(float(found.rank[i]), len(found.seeds))
        self.words.setText(f"<b>{float(found.score[i]):.2f}</b> · {rank}")
        assert session is not None
        lines = [
            f"{WORDS[each.method][0]}: rank {place_of(float(each.rank[each.row[seed]]), len(each.seeds)):,} "
            f"of {len(each.seeds):,}"
            for each in session.opinions.of(session.pool)
            if seed in each.row
        ]
        self.others.setText("<br>".join(dim(line, self._theme) for line in lines))
        self.others.setVisible(len(lines) > 1)
        self.fill(WORDS[found.method][0].lower() if found.method in WORDS else found.model_id)
        self.setToolTip(f"By {found.model_id}")

    def show_pictures(self, odd: Heated | None) -> None:
        """Show the cut through the oddest voxel, or the photo, with its heat; None where there is none."""
        for widget in (self.pictures, self._scale):
            widget.setVisible(odd is not None)
        self._without.setVisible(odd is None)
        if odd is None:
            self.pictures.show_pictures([])
            return
        picture, heat = odd
        caption = "where it is odd" if heat.max() >= FAINT else "nothing is odd"
        as_it_is = "the photo" if picture.ndim == 3 else "as scanned"
        self.pictures.show_pictures([Picture(picture, as_it_is), Picture(under_heat(picture, heat), caption)])
