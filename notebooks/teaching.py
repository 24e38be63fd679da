"""What TEACHING.md takes from the lessons: goals, minutes, predictions with their wrong answers, plans of the routes.

Each stands between <!-- NAME --> and <!-- end -->; build.py fills them.
"""

import re

from k8slb.course import contents
from k8slb.course.lab import stored
from k8slb.course.questions import Prediction, questions

LONG, PAUSE, HALF_DAY = 75, 10, 240  # minutes at a stretch, of a break, of a day's part


def lesson(number: str) -> str:
    """Goal and minutes of a lesson, and what to say to each wrong answer of its prediction."""
    one = next((one for one in contents.lessons() if one.number == number), None)
    if one is None:
        return "This lesson is not written yet.\n"
    told = f"Afterwards a learner can {'; '.join(one.verbs)}.\n\n"
    told += f"{one.core} minutes, going further {one.further}. Needs: {', '.join(one.needs) or 'nothing'}.\n"
    asked = getattr(questions(number), "PREDICTION", None)
    return told + (f"\n{predicted(asked)}" if isinstance(asked, Prediction) else "")


def predicted(asked: Prediction) -> str:
    rows = [(o.text, o.misconception or "right", o.refuted or asked.because) for o in asked.options]
    lines = ["| " + " | ".join(cell.replace("|", r"\|").replace("*", r"\*") for cell in row) + " |" for row in rows]
    return "\n".join(
        [f"*{asked.question}*".replace("\n", " "), "", "| answer | behind it | say |", "|---|---|---|", *lines, ""]
    )


def plan(route: contents.Route) -> str:
    """A route on the clock: breaks where more than LONG minutes would come together, parts of at most HALF_DAY."""
    rows, now, since, parts, breaks = [], 0, 0, 1, 0
    for one in route.lessons:
        lasts = one.core + one.further * route.further
        if now + PAUSE + lasts > HALF_DAY:
            rows.append(f"| | | end of part {parts} |")
            now, since, parts = 0, 0, parts + 1
        if since and since + lasts > LONG:
            rows.append(f"| {clock(now)} | {PAUSE} | break |")
            now, since, breaks = now + PAUSE, 0, breaks + 1
        rows.append(f"| {clock(now)} | {lasts} | {one.number} {one.question} |")
        now, since = now + lasts, since + lasts
    head = "| from | minutes | what |\n|---|---|---|\n"
    whole = f"Lessons {route.minutes} minutes, breaks {PAUSE * breaks}" + f"; {parts} parts" * (parts > 1)
    return f"{head}{chr(10).join(rows)}\n\n{whole}.\n"


def clock(minutes: int) -> str:
    return f"{minutes // 60}:{minutes % 60:02d}"


def part(name: str) -> str:
    what, _, which = name.partition(" ")
    if what == "lesson":
        return lesson(which)
    return plan(next(route for route in contents.routes() if route.name == which))


def filled(text: str) -> str:
    """The guide with each of its parts as the lessons have it now."""
    mark = re.compile(r"<!-- ((?:lesson|route) [^>]*) -->\n.*?<!-- end -->", re.DOTALL)
    return mark.sub(lambda m: f"<!-- {m[1]} -->\n{part(m[1])}<!-- end -->", text)


def write() -> None:
    guide = stored() / "TEACHING.md"
    guide.write_text(filled(guide.read_text(encoding="utf-8")), encoding="utf-8")
