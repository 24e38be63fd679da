"""The book: what its settings put into the panels, and what its pages hold, without a browser."""

import re
from html.parser import HTMLParser
from itertools import pairwise

import book
import pytest

from k8slb.course import contents, controls, panel
from k8slb.course.questions import questions
from k8slb.front import load

WITH_SETTINGS = [one.number for one in contents.lessons() if hasattr(questions(one.number), "SETTINGS")]
PAGES = {"index.html", "glossary.html", *(book.page_of(one.file) for one in contents.lessons())}


class Page(HTMLParser):
    """The elements of a page, and what a browser would say is wrong with their nesting."""

    EMPTY = ("meta", "img", "br", "hr", "input", "link")

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.wrong = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag in self.EMPTY:
            return
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def of(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    folder = tmp_path_factory.mktemp("book")
    written = book.build(["02"], folder)
    assert {path.name for path in written} >= {"02-random-vs-round-robin.html", "index.html"}
    return {path.name: path.read_text(encoding="utf-8") for path in written}


def test_pages_are_whole_and_ask_nobody(text):
    for name, told in text.items():
        page = Page(told)
        assert not page.wrong and not page.open, name
        assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.elements}
        loads = [
            attrs[key] for _, attrs in page.elements for key in ("src", "srcset", "data", "poster") if key in attrs
        ]
        assert all(load.startswith("data:image/png;base64,") for load in loads)
        assert not re.search(r"(?:url\((?!#|\"data:)|@import)[^<]*</style>", told), name


def test_links_lead_somewhere(text):
    for told in text.values():
        page = Page(told)
        ids = {attrs["id"] for _, attrs in page.elements if "id" in attrs}
        links = [link["href"] for link in page.of("a")]
        near = [link for link in links if not re.match("https?://", link)]
        assert near and all((link[1:] in ids) if link[:1] == "#" else link.partition("#")[0] in PAGES for link in near)


def test_pictures_say_what_they_show_and_headings_are_in_order(text):
    for name, told in text.items():
        page = Page(told)
        assert all(image.get("alt", "").strip() for image in page.of("img"))
        drawings = page.of("svg")
        assert all(d.get("role") == "img" and d.get("aria-label", "").strip() for d in drawings)
        assert drawings or name != "02-random-vs-round-robin.html"
        levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
        assert levels.count(1) == 1 and levels[0] == 1 and all(b <= a + 1 for a, b in pairwise(levels)), name


def test_answers_are_folded(text):
    told = text["02-random-vs-round-robin.html"]
    folded = re.findall(r"<details>(.*?)</details>", told, re.DOTALL)
    assert "Of the 729 ways" in "".join(folded) and "about 1 time in 8</li>" in told
    assert any("def exactly_even" in part and "factorial" in part for part in folded)
    assert re.search(r"what happens</summary>\s*<section", told)


@pytest.mark.parametrize("lesson", WITH_SETTINGS)
def test_each_setting_is_what_its_line_of_python_gives(lesson):
    live, names = book.panels_of(lesson)
    assert {*live} == {*questions(lesson).SETTINGS}
    for which, shown in live.items():
        drawn = []
        for name, _, picture in book.drawn(lesson, which, shown):
            drawn.append(picture)
            names["cluster"] = getattr(shown, "cluster", None)  # what a line says that names no cluster of the lesson
            again = eval(shown.line, names)
            if hasattr(shown, "cascade"):
                assert again.shares == shown.cascade.shares
                assert book.escape(shown.cascade.sentence) in picture
                continue
            assert (again.counts(), again.lost) == (shown.outcome.counts(), shown.outcome.lost), name
            numbers = [f"<td>{row.count:,}</td>" for row in ([] if hasattr(shown, "change") else shown.rows)]
            assert all(number in picture for number in numbers) and book.escape(shown.sentence) in picture
        assert len(drawn) == 4 and len({*drawn}) == 4, "three settings, and each shows something else"


def test_a_setting_that_does_not_fit_is_refused():
    shop = load("shop")
    shown = panel(
        shop,
        "http://order-service",
        controls.replicas("order"),
        controls.mode(),
        controls.yaml_of("service/order-service"),
    )
    for wrong, why in (
        ({"replicas": 3}, "no control 'replicas'; there are replicas of order"),
        ({"replicas of order": 300}, "takes 10, not 300"),
        ({"service/order-service": ("nothing of it", "")}, "is not once in service/order-service"),
        ({"service/order-service": ("port: 80", "port: eighty")}, "role='alert'"),
    ):
        with pytest.raises(ValueError, match=re.escape(why)):
            book.apply(shown, wrong)
    assert "<" not in re.sub("</?(p|code)>", "", book.told({"<img>": "<b>", "x": ("<i>", "<u>")}))
