"""What every stored lesson keeps to. A lesson that does not have a part yet fails here and says which.

A section is an H2 with what follows it. "Going further" and the sections after it, up to "Recap", are the second part;
all else is the core.
"""

import ast
import itertools
import math
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import build
import nbformat
import pytest
from driven import Driven

from k8slb.course.questions import exercises

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
LESSONS = sorted(NOTEBOOKS.glob("[0-9][0-9]-*.ipynb"))
CORE = ("Recall", "Predict", "Try", "Explain", "Exercise")
FURTHER = ("On a real cluster", "Break it", "Exercise", "Sandbox")
END = ("Going further", "Recap", "Further reading")

# Word -> the lesson that defines it, there in bold. Other forms of a word are written with |.
GLOSSARY = {
    "request": "00",
    "connection": "00",
    "address:port": "00",
    "node": "00",
    "NAT": "00",
    "selector": "01",
    "targetPort": "01",
    "EndpointSlice": "01",
    "ndots": "01",
    "standard deviation": "02",
    "nftables": "02",
    "IPVS": "02",
    "keep-alive": "05",
    "conntrack": "05",
    "ClientIP": "06",
    "externalTrafficPolicy": "07",
    "trafficDistribution": "08",
    "pathType": "09",
    "SNI": "09",
    "upstream": "10",
    "canary": "10",
    "HTTPRoute": "11",
    "ReferenceGrant": "11",
    "sidecar": "12",
    "mTLS": "12",
    "preStop": "13",
}


@dataclass
class Section:
    title: str
    cells: list

    def of(self, kind: str) -> list:
        return [cell for cell in self.cells if cell.cell_type == kind]

    @property
    def text(self) -> str:
        return "\n\n".join(cell.source for cell in self.of("markdown"))


@dataclass
class Lesson:
    path: Path

    def __post_init__(self):
        self.number = self.path.name[:2]
        self.cells = nbformat.read(self.path, 4).cells
        self.sections = [Section("", [])]
        for cell in self.cells:
            if cell.cell_type == "markdown" and (heading := re.match(r"## (.+)", cell.source)):
                self.sections.append(Section(heading[1].strip(), []))
            self.sections[-1].cells.append(cell)
        titles = [section.title for section in self.sections]
        begin = next((i for i, t in enumerate(titles) if t.startswith("Going further")), None)
        end = next((i for i, t in enumerate(titles) if t.startswith("Recap")), len(titles))
        second = range(end if begin is None else begin, end)
        self.further = [s for i, s in enumerate(self.sections) if i in second]
        self.core = [s for i, s in enumerate(self.sections) if i not in second]

    @property
    def code(self) -> list:
        return [cell for cell in self.cells if cell.cell_type == "code"]

    @property
    def text(self) -> str:
        return "\n\n".join(section.text for section in self.sections)

    @property
    def needs(self) -> set[str]:
        """The lessons it builds on, and theirs; of a lesson that is not there, itself alone."""
        direct = re.findall(r"\b\d\d\b", box(self)[1])
        known = {path.name[:2]: path for path in LESSONS if path.name[:2] < self.number}
        return {self.number, *direct}.union(*(Lesson(known[n]).needs for n in direct if n in known))


@pytest.fixture(params=LESSONS, ids=lambda p: p.stem)
def lesson(request) -> Lesson:
    return load(request.param)


load = cache(Lesson)


def box(lesson: Lesson) -> list[str]:
    """The row of the box: minutes, needs, after it you can."""
    table = re.search(r"^\| minutes \| needs \| after it you can \|\n\|[-| ]+\|\n\|(.+)\|$", lesson.text, re.MULTILINE)
    assert table, "no box: | minutes | needs | after it you can |"
    return [part.strip() for part in table[1].split("|")]


def words(sections: list[Section]) -> int:
    """Words to read: Markdown without hints, link targets, and signs."""
    text = re.sub(r"<details>.*?</details>", " ", "\n".join(s.text for s in sections), flags=re.DOTALL)
    return sum(any(map(str.isalnum, word)) for word in re.sub(r"\]\([^)]*\)", "]", text).split())


def minutes(sections: list[Section]) -> int:
    """words/200 + 1.5 for each code cell + 2 for each numbered task + 3 for each exercise, rounded."""
    code = [cell for section in sections for cell in section.of("code")]
    tasks = sum(len(re.findall(r"^\d+\. ", section.text, re.MULTILINE)) for section in sections)
    exercises = sum(build.exercise_of(cell) is not None for cell in code)
    return math.floor(words(sections) / 200 + 1.5 * len(code) + 2 * tasks + 3 * exercises + 0.5)


def headings(text: str) -> list[tuple[int, str]]:
    outside = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return [(len(marks), title.strip()) for marks, title in re.findall(r"^(#+) (.+)$", outside, re.MULTILINE)]


def test_one_title_that_is_a_question(lesson):
    assert re.fullmatch(r"\d\d-[a-z0-9-]+", lesson.path.stem)
    found = headings(lesson.text)
    assert [level for level, _ in found].count(1) == 1 and found[0][0] == 1 and found[0][1].endswith("?")
    assert all(after <= before + 1 for (before, _), (after, _) in itertools.pairwise(found)), "a level left out"
    starts = [cell.source for cell in lesson.cells if cell.cell_type == "markdown" and "\n## " in cell.source]
    assert not starts, "an H2 begins its own cell"
    assert re.match(rf"# .+\n\n.*[Ll]esson {lesson.number}\b", lesson.cells[0].source), "nav line: Lesson NN ..."


def test_the_box(lesson):
    told, needs, after = box(lesson)
    assert len(after.split(";")) == 3, "after it you can: three verbs, parted by ;"
    given = [int(number) for number in re.findall(r"\d+", told)]
    assert given == [minutes(lesson.core), *([minutes(lesson.further)] if lesson.further else [])]
    assert needs == "nothing" or re.search(r"\b\d\d\b", needs), "needs: nothing, or lessons by number"


@pytest.mark.parametrize("part", [*CORE, *END])
def test_every_part_is_there(lesson, part):
    if (part, lesson.number) == ("Recall", "00"):
        return
    sections = lesson.core if part in CORE else lesson.sections
    assert any(section.title.startswith(part) for section in sections), f"no section {part}"


@pytest.mark.parametrize("part", FURTHER)
def test_every_part_of_going_further_is_there(lesson, part):
    titles = [title for section in lesson.further for level, title in headings(section.text) if level in (2, 3)]
    assert any(title.startswith(part) for title in titles), f"no heading {part} in Going further"


def test_the_parts_are_in_order(lesson):
    order = [*CORE, *END]
    found = [next((order.index(p) for p in order if s.title.startswith(p)), None) for s in lesson.sections]
    in_core = [
        at for at, section in zip(found, lesson.sections, strict=True) if at is not None and section in lesson.core
    ]
    assert in_core == sorted(in_core) and lesson.sections[-1].title.startswith(("Recap", "Further reading"))


def test_length(lesson):
    assert words(lesson.core) <= 1000
    assert sum(len(section.of("code")) for section in lesson.core) <= 14
    assert minutes(lesson.core) <= 20
    assert sum(len(section.of("code")) for section in lesson.further) <= 25
    assert minutes(lesson.further) <= 40


def test_cells_are_short(lesson):
    for cell in lesson.code:
        inside = set()
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, (ast.Constant, ast.JoinedStr)) and node.end_lineno > node.lineno:
                inside |= set(range(node.lineno + 1, node.end_lineno + 1))
        lines = [n for n, line in enumerate(cell.source.splitlines(), 1) if line.strip() and n not in inside]
        assert len(lines) <= 12, cell.source


def names(tree: ast.AST) -> set[str]:
    """The names that a cell assigns at its top level, in whatever way."""
    found, todo = set(), [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)  # what it assigns within is its own
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, (ast.Store, ast.Del)):
            found.add(node.id)
        elif isinstance(node, ast.comprehension):
            todo += [node.iter, *node.ifs]
        elif not isinstance(node, ast.Lambda):
            todo += ast.iter_child_nodes(node)
    return found


def test_each_name_is_assigned_in_one_cell(lesson):
    owner = {}
    for number, cell in enumerate(lesson.code):
        assigned = names(ast.parse(cell.source))
        assert number == 0 or "shop" not in assigned, f"shop is bound again: {cell.source}"
        for name in assigned if build.exercise_of(cell) is None else ():
            assert owner.setdefault(name, number) == number, f"{name} is assigned in two cells"


def test_nothing_that_a_stored_lesson_cannot_show(lesson):
    for cell in lesson.code:
        assert not re.search(r"\bpyplot\b|\bplt\.|\binteract(ive\w*)?\(|\bOutput\(|\bclear_output\b", cell.source)
        assert not any(line.split("#")[0].rstrip().endswith(";") for line in cell.source.splitlines()), cell.source


def test_it_is_stored_executed_and_clean(lesson):
    for cell in lesson.code:
        assert cell.execution_count is not None, f"not executed: {cell.source}"
        for output in cell.outputs:
            assert set(output.get("data", {})) <= set(build.KEPT) and output.output_type != "error"
    stored = lesson.path.read_text(encoding="utf-8")
    assert "<svg" not in stored and "application/vnd.jupyter" not in stored and '"widgets"' not in stored


def test_exercises_are_a_task_and_a_stub(lesson):
    """Each once and in order: the task with its hints, then the stub, which ends in its check."""
    placed = [cell for cell in lesson.cells if build.exercise_of(cell)]
    assert placed, "no exercise"
    ids = [build.exercise_of(cell) for cell in placed]
    assert ids == [id for id in exercises(lesson.number) for _ in "12"], "the same as in notebooks/questions"
    assert all(id[:3] == f"{lesson.number}." for id in ids)
    for id, task, stub in zip(ids[::2], placed[::2], placed[1::2], strict=True):
        assert (task.cell_type, stub.cell_type) == ("markdown", "code"), id
        heading = re.match(rf"### Exercise {re.escape(id)} (★{{1,3}})\n\n\S", task.source)
        assert heading, f"### Exercise {id} ★, and the task"
        core = any(task in section.cells for section in lesson.core)
        assert (len(heading[1]) == 1) == core, "★ belongs to the core, ★★ and ★★★ to what follows"
        hints = re.findall(r"<details><summary>Hint (\d)</summary>\n\n.+?\n\n</details>", task.source, re.DOTALL)
        assert hints in (["1", "2"], ["1", "2", "3"]), f"two or three hints: {id}"
        assert stub.source.rpartition("\n")[2].startswith(f'check("{id}", ')


def test_the_solutions_are_made_from_the_lesson(lesson):
    stored = nbformat.read(NOTEBOOKS / "solutions" / lesson.path.name, 4).cells
    expected = build.solved(nbformat.v4.new_notebook(cells=lesson.cells)).cells
    assert [c.source for c in stored] == [c.source for c in expected], "make lessons"
    for cell in stored:
        if cell.cell_type == "code" and (id := build.exercise_of(cell)):
            assert text_of(cell) == f"✔ {id}: correct\n"
            assert cell.source == cell.source.strip() and max(map(len, cell.source.splitlines())) <= 120


def test_no_solutions_are_left_over():
    assert {path.name for path in NOTEBOOKS.glob("solutions/*.ipynb")} <= {path.name for path in LESSONS}


def test_the_recap_has_three_sentences(lesson):
    (recap,) = (section.text for section in lesson.sections if section.title.startswith("Recap"))
    said = recap.partition("\n")[2].strip()
    assert len(re.findall(r"[.!?](?=\s|$)", said)) == 3 and "model leaves out" in said


# A number counts if it says something: more than twelve, or with decimals, a percent sign or a fraction bar.
NUMBER = re.compile(r"(?<![\w.,/:#-])(?:\d+/\d+|\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?%?(?![\w/]|\.\d|:\d)")
# Not said: hints, code and YAML field names, link targets, headings, marks of a list, versions and lessons.
UNSAID = re.compile(
    r"(?s:<details>.*?</details>|```.*?```)|`[^`\n]*`|\]\([^)]*\)|^#.*$|^\d+\. "
    r"|(?:[Ll]essons?|[Vv]ersions?|[Rr]elease|Kubernetes|ingress-nginx|RFC|HTTP|port|since|\bv) ?\d[\d.]*",
    re.MULTILINE,
)


def claims(text: str) -> list[str]:
    """The numbers that a text says and that something must show."""
    return [n for n in NUMBER.findall(UNSAID.sub(" ", text)) if re.search(r"[.%/]", n) or int(n.replace(",", "")) > 12]


def values(text: str) -> set[float]:
    """Every number in a text; fractions and percentages also as what they come to."""
    plain = re.sub(r"(?<=\d)[,_](?=\d{3})", "", text)
    found = {float(number) for number in re.findall(r"\d+(?:\.\d+)?", plain)}
    found |= {float(number) / 100 for number in re.findall(r"(\d+(?:\.\d+)?)%", plain)}
    return found | {int(a) / int(b) for a, b in re.findall(r"(\d+)/(\d+)", plain) if int(b)}


def shown_in(claim: str, known: set[float]) -> bool:
    """Whether some number rounds to the claim, as it is or as a percentage."""
    if "/" in claim:
        top, bottom = claim.rstrip("%").split("/")
        return any(math.isclose(int(top) / int(bottom), value, abs_tol=5e-4) for value in known)
    number, decimals = float(claim.rstrip("%").replace(",", "")), len(claim.rstrip("%").partition(".")[2])
    scales = (1, 100) if claim.endswith("%") else (1,)
    return any(abs(round(value * scale, decimals) - number) < 1e-9 for value in known for scale in scales)


def test_numbers_in_the_text_are_in_the_outputs(lesson):
    """In those, or the code, of its section or one before it: what the reader has seen.

    Left out are the opening, which tells an incident, the premises of Predict, exercises, and further reading.
    """
    wrong, known = [], set()
    for section in lesson.sections:
        known |= values("\n".join(f"{cell.source}\n{text_of(cell)}" for cell in section.of("code")))
        told = "\n\n".join(cell.source for cell in section.of("markdown") if build.exercise_of(cell) is None)
        if section.title and not section.title.startswith(("Predict", "Further reading")):
            wrong += [f"{section.title}: {claim}" for claim in claims(told) if not shown_in(claim, known)]
    assert not wrong


@pytest.mark.parametrize(
    "text, code, missing",
    [
        ("Of 1,000 requests 338 go there.", "requests=1_000\n338 of 1000", []),
        ("About 33.8%, exactly 1/3.", "0.3381 33.3%", []),
        ("Not 34%, nor 2/3 nor 25.", "0.3381 1/3", ["2/3", "25"]),
        ("Lesson 02, version 0.22, 10.0.0.5:8081, 2 of 3 pods, `99`, [a](x/77), #64580", "", []),
        ("## 50 ways\n\n13. ask\n\n<details>66\n\n67</details>\n\n68", "", ["68"]),
    ],
)
def test_how_numbers_are_found(text, code, missing):
    assert [claim for claim in claims(text) if not shown_in(claim, values(code))] == missing


def test_words_are_defined_before_they_are_used(lesson):
    text = re.sub(r"`[^`\n]*`|```.*?```|\]\([^)]*\)", " ", lesson.text, flags=re.DOTALL)
    for word, home in GLOSSARY.items():
        used = re.search(rf"(?<![\w-]){re.escape(word)}(?:s|es)?(?![\w-])", text)
        assert not used or home in lesson.needs, f"{word} is defined in {home}, which {lesson.number} does not need"
        assert home != lesson.number or re.search(rf"\*\*`?{re.escape(word)}", lesson.text), f"define **{word}**"


def text_of(cell) -> str:
    """What a cell shows, pictures left out."""
    return "".join(o.get("text") or o.get("data", {}).get("text/plain") or o.get("evalue", "") for o in cell.outputs)


@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)
def test_each_section_runs_after_the_set_up_cell_alone(path):
    """In one kernel, emptied between the sections: a section may use the first code cell and itself, no more."""
    lesson = load(path)
    client = Driven(nbformat.v4.new_notebook(), timeout=60, resources={"metadata": {"path": str(path.parent)}})

    def run(source: str):
        client.nb.cells.append(nbformat.v4.new_code_cell(source))
        return client.execute_cell(client.nb.cells[-1], len(client.nb.cells) - 1)

    with client.setup_kernel():
        for section in lesson.sections:
            run("%reset -f")
            run(lesson.code[0].source)
            for cell in section.of("code"):
                assert text_of(run(cell.source)) == text_of(cell), f"{section.title}: {cell.source}"
