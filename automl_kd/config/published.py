"""What others have published, which a page shows beside our own figures."""

from __future__ import annotations

from dataclasses import dataclass

from automl_kd.spec import require


@dataclass(frozen=True, kw_only=True)
class PublishedFigure:
    """An accuracy that others have published for an experiment like this one; it decides nothing.

    `title`: for people. `accuracy` (1 to 100): percent of test images, as published. `source`: where it stands.
    `method`: the name of the compared method that it is of, beside which it is shown; empty for none. `option`: a word
    of that method's options, where only those are meant: "dkd" of one that tries several losses.
    """

    title: str
    accuracy: float
    source: str
    method: str = ""
    option: str = ""

    def __post_init__(self) -> None:
        require(bool(self.title.strip()), "a published figure needs a title, got an empty one")
        require(bool(self.source.strip()), f"published figure {self.title!r} needs a source; name where it stands")
        require(
            1 <= self.accuracy <= 100,
            f"accuracy of {self.title!r} must be percent, in 1 to 100, got {self.accuracy}",
        )
