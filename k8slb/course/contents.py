"""The lessons as a table, read from their first cells; the routes through them; the levels at which one is picked."""

import json
import re
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

from ..manifests import table_of
from .lab import stored

LINK = re.compile(r"\[(\d\d) ([^\]]+)\]\(\1-[a-z0-9-]+\.ipynb\)")
BOX = re.compile(r"^\| minutes \| needs \| after it you can \|\n\|[-| ]+\|\n\|( *\d.*)\|$", re.MULTILINE)


class Lesson(NamedTuple):
    number: str
    title: str  # as other lessons link it
    question: str
    core: int  # minutes
    further: int
    needs: tuple[str, ...]
    verbs: tuple[str, ...]  # after it you can
    file: str


class Route(NamedTuple):
    name: str
    lessons: tuple[Lesson, ...]
    further: bool = False  # whether "Going further" belongs to it

    @property
    def minutes(self) -> int:
        return sum(lesson.core + lesson.further * self.further for lesson in self.lessons)

    @property
    def sum(self) -> str:
        """Where the minutes come from: "19 + 20 + 20 = 59"."""
        cores = " + ".join(str(lesson.core) for lesson in self.lessons)
        further = f", going further {sum(lesson.further for lesson in self.lessons)}" * self.further
        return f"{cores}{further} = {self.minutes}"


# The levels at which something is picked, and where the shop shows each: the first decision of its layer that a request
# to its url meets, once its YAML is applied.
LEVELS = [SimpleNamespace(**row) for row in table_of("levels")]


@cache
def lessons(folder: Path | None = None) -> tuple[Lesson, ...]:
    """Every lesson in `folder`, or as shipped; a learner's copies say the same."""
    first = {file: _first(file) for file in sorted((folder or stored()).glob("[0-9][0-9]-*.ipynb"))}
    titles = {number: title for text in first.values() for number, title in LINK.findall(text)}
    return tuple(_lesson(file, text, titles) for file, text in first.items() if BOX.search(text))


def _first(file: Path) -> str:
    cells = json.loads(file.read_text(encoding="utf-8")).get("cells", ())
    return "".join(cells[0]["source"]) if cells else ""


def _lesson(file: Path, text: str, titles: dict[str, str]) -> Lesson:
    number, question = file.name[:2], text.partition("\n")[0].removeprefix("# ").strip()
    minutes, needs, verbs = (part.strip() for part in BOX.search(text)[1].split("|"))
    core, *further = map(int, re.findall(r"\d+", minutes))
    needed = tuple(re.findall(r"\[(\d\d)\]", needs))
    after = tuple(verb.strip() for verb in verbs.split(";"))
    return Lesson(number, titles.get(number, question), question, core, sum(further), needed, after, file.name)


def routes() -> tuple[Route, ...]:
    """One hour, half a day, all."""

    def of(*numbers: str) -> tuple[Lesson, ...]:
        return tuple(lesson for lesson in lessons() if lesson.number in numbers)

    hour = ("00", "05", "09")
    return (
        Route("one hour", of(*hour)),
        Route("half a day", of(*hour, "01", "02", "07", "13")),
        Route("all", lessons(), True),
    )
