"""What a reader sees in JupyterLab in a real browser: the lessons, and the pages' diagrams."""

import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from pathlib import Path

import nbformat
import pytest
from browser.lab import LONG, command, drawn, open_notebook, run_all, settings
from drawings import drawings, labels
from PIL import Image
from playwright.sync_api import expect

from k8slb.course.lab import copies, stored

ROOT = Path(__file__).parents[2]
SHOTS = Path(__file__).parent / "screenshots"  # kept in git: a picture a lesson and theme, to be looked at
TAKE_SHOTS = os.environ.get("K8SLB_SHOTS") == "1"  # anew; else a run leaves the checkout as it is
# What is stored of a notebook: how many pictures, and how many outputs that say so where a widget was.
STORED = """async (name) => {
    const model = await (await fetch("/api/contents/" + name)).json();
    const data = model.content.cells.flatMap((c) => c.outputs || []).map((o) => o.data || {});
    const again = (d) => (d["text/plain"] || "").includes("Run the first cells again");
    return [data.filter((d) => d["image/png"]).length, data.filter(again).length];
}"""
# Not waited for: a kernel takes seconds to end.
END_SESSIONS = """async () => {
    const headers = {"X-XSRFToken": document.cookie.match(/_xsrf=([^;]*)/)[1]};
    for (const session of await (await fetch("/api/sessions")).json())
        fetch("/api/sessions/" + session.id, {method: "DELETE", headers, keepalive: true});
}"""
# Of what Mermaid drew: the lines of its labels, and how much else there is in them.
DRAWN = """(source) => {
    const text = decodeURIComponent(source.slice(source.indexOf(",") + 1));
    const drawn = new DOMParser().parseFromString(text, "image/svg+xml");
    const labels = [...drawn.querySelectorAll("foreignObject p")];
    const lines = labels.flatMap((p) => p.innerHTML.split(/<br[^>]*>/).map((line) => {
        p.innerHTML = line;
        return p.textContent;
    }));
    return [lines, drawn.querySelectorAll("script, img, image, a, i, b, em, strong, math, iframe, parsererror").length];
}"""
LESSONS = sorted(path.name for path in stored().glob("[0-9][0-9]-*.ipynb"))
DIAGRAMS = [(ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "ARCHITECTURE.md")]
RUN_AGAIN = "Run the first cells again"
DRAWING = "svg[role=img], img[alt]"
expect.set_options(timeout=60_000)


@pytest.fixture(scope="module")
def address(lab_server, tmp_path_factory):
    """Where a learner's copies of all lessons are served, and a notebook with the pages' text."""
    folder = tmp_path_factory.mktemp("served")
    diagrams = [f"```mermaid\n{diagram.mermaid}```" for diagram in drawings().values()]
    for name, texts in {"pages": DIAGRAMS, "diagrams": diagrams}.items():
        pages = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text) for text in texts])
        nbformat.write(pages, folder / f"{name}.ipynb")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTERLAB_SETTINGS_DIR", str(settings(folder / "settings", "JupyterLab Light")))
        return lab_server(folder / "pages.ipynb", folder / "diagrams.ipynb", *copies(stored(), folder / "lessons"))


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_from_the_guess_to_the_next_day(address, page, name):
    page.set_viewport_size({"width": 1280, "height": 2000})
    open_notebook(page, address, name)
    assert not page.locator(".jp-OutputArea-output img").count(), "no answer before the guess"
    run_all(page)
    errors = page.locator(
        '.jp-OutputArea-output[data-mime-type$="stderr"], .jp-OutputArea-output[data-mime-type$="error"]'
    )
    assert errors.all_inner_texts() == []
    cell = page.locator(".jp-CodeCell", has=page.get_by_role("button", name="Lock my guess"))
    guess = cell.locator("input[type=radio]").first
    expect(cell.locator(DRAWING)).to_have_count(0)
    guess.check()
    cell.get_by_role("button", name="Lock my guess").click()
    expect(cell.locator(DRAWING).first).to_be_visible()
    expect(cell.get_by_text("Your guess")).to_be_visible()
    expect(guess).to_be_disabled()
    for theme in ("Dark", "Light"):
        command(page, "apputils:change-theme", theme=f"JupyterLab {theme}")
        expect(page.locator("body")).to_have_attribute("data-jp-theme-light", str(theme == "Light").lower())
        taken(cell, f"{name[:2]}-{theme.lower()}")
    panel = Panel(page, cell)
    assert not panel.unmoved(), "controls that change no pixel"
    panel.step()
    assert errors.all_inner_texts() == []

    live = page.locator(".jp-OutputArea-output:has(.jupyter-widgets):not(:has(.k8slb-picture))").count()
    command(page, "docmanager:save")
    pictures, notes = page.evaluate(STORED, name)
    assert notes == live and pictures, "every widget is stored as a picture or a text"
    restart(page)
    open_notebook(page, address, name)
    expect(page.locator(".jp-OutputArea-output img")).to_have_count(pictures)
    told = page.locator(".jp-Notebook").inner_text()
    assert "model not found" not in told and RUN_AGAIN in told
    run_all(page, wait=False)
    expect(cell.locator("input[type=radio]:disabled").first).to_be_visible()  # it knows the guess
    expect(cell.locator(DRAWING).first).to_be_visible()
    page.evaluate(END_SESSIONS)


def restart(page) -> None:
    """The kernel starts anew; a live panel says so."""
    command(page, "kernelmenu:restart", wait=False)  # it asks first
    page.click(".jp-Dialog button.jp-mod-accept")
    if page.locator(".k8slb-panel").count():
        gone = page.locator(".k8slb-panel.jupyter-widgets-disconnected").first
        expect(gone).to_be_visible()
        assert "run the first cells again" in gone.evaluate("(panel) => getComputedStyle(panel, '::before').content")


def taken(cell, name: str) -> None:
    """A picture of the panel, with few colours to be small."""
    cell.page.mouse.move(0, 0)  # what it is over looks different
    expect(cell.page.locator("#jupyterlab-splash")).to_have_count(0)  # lies over the page while a theme loads
    small = BytesIO()
    with Image.open(BytesIO(cell.locator(".jp-OutputArea-output").first.screenshot())) as shot:
        shot.convert("RGB").quantize(32).save(small, "PNG", optimize=True)
    assert len(small.getvalue()) < 120_000
    if TAKE_SHOTS:
        (SHOTS / f"{name}.png").write_bytes(small.getvalue())


class Panel:
    """A panel in the output of a cell: its controls as a reader moves them, and the pixels of what it draws and says.

    The line of Python beneath is the last that a panel changes at a move, so it tells when the move is done.
    """

    def __init__(self, page, cell):
        self.page, self.cell = page, cell
        self.line = cell.locator("pre.k8slb-line, p[role=alert]")
        self.seen = cell.locator(f"{DRAWING}, p[role=status]:not([aria-live])")
        # a lesson's own widget has its controls without a box around them
        places = (".k8slb-controls > *", ".widget-hbox:has(.noUi-handle), .widget-vbox > .widget-text")
        self.controls = next(found for place in places if (found := cell.locator(place).all()))

    def unmoved(self) -> list[str]:
        """The controls that change no pixel: neither as the lesson begins nor after any other was moved."""
        moved = {i: act for i, control in enumerate(self.controls) if (act := self.changing(control))}
        still = [control for i, control in enumerate(self.controls) if i not in moved]
        return [told(control) for control in still if not any(map(partial(self.after, control), moved.values()))]

    def after(self, control, act: "Act") -> bool:
        self.do(act.do)
        changed = self.changing(control) is not None
        self.do(act.undo)
        return changed

    def changing(self, control) -> "Act | None":
        """The first move of a control that changes pixels; it is taken back."""
        before = self.pixels()
        for act in acts(control):
            self.do(act.do)
            changed = self.pixels() != before
            self.do(act.undo)
            if changed:
                return act
        return None

    def do(self, move: Callable[[], None]) -> None:
        before = self.line.all_inner_texts()
        move()
        expect(self.line).not_to_have_text(before) if before else expect(self.line).not_to_have_count(0)

    def pixels(self) -> bytes:
        drawn(self.page)
        boxes = [box for part in self.seen.all() if (box := part.bounding_box())]
        if not boxes:
            return b""
        x, y = (min(box[side] for box in boxes) for side in "xy")
        width, height = (
            max(box[side] + box[size] for box in boxes) - low
            for side, size, low in (("x", "width", x), ("y", "height", y))
        )
        return self.page.screenshot(clip={"x": x, "y": y, "width": width, "height": height})

    def step(self) -> None:
        button = self.cell.get_by_role("button", name="Step")
        if button.count():
            before = self.pixels()
            button.click()
            told = (f"svg[aria-label^='{begins}']" for begins in ("request 1", "Connection 1", "Second "))
            expect(self.cell.locator(", ".join(told)).first).to_be_visible()
            assert self.pixels() != before


class Act:
    """A move of a control, and how it is taken back."""

    def __init__(self, do: Callable[[], None], undo: Callable[[], None]):
        self.do, self.undo = do, undo


def acts(control) -> Iterator[Act]:
    """What a reader may do with a control of any kind, the plainest first; every move gives another value."""
    handle, area, paths = (control.locator(q) for q in (".noUi-handle", "textarea", "input[title^='path of row']"))
    fields, options = control.locator("input[type=text], input[type=number]"), control.locator("option")
    if handle.count():
        now, low, high = (float(handle.get_attribute(f"aria-value{what}")) for what in ("now", "min", "max"))
        keys = ["End"] * (now < high) + ["Home"] * (now > low)  # a shorter way may round to the same number
        back = partial(typed, fields, fields.input_value())
        yield from (Act(partial(handle.press, key), back) for key in keys)
    elif paths.count():
        yield from (Act(partial(typed, p, "/elsewhere"), partial(typed, p, p.input_value())) for p in paths.all())
    elif area.count():
        text = area.input_value()
        ends = [found.end() for found in re.finditer(r"(?m)^ +[a-z]+: ([\w-]+)$", text)]
        yield from (Act(partial(left, area, f"{text[:i]}x{text[i:]}"), partial(left, area, text)) for i in ends[::-1])
    elif options.count():
        select = control.locator("select")
        now = select.input_value()
        others = [value for option in options.all() if (value := option.get_attribute("value")) != now]
        yield from (Act(partial(select.select_option, v), partial(select.select_option, now)) for v in others)
    elif fields.count() > 1:  # a row of numbers
        for field in fields.all():
            now = field.input_value()
            yield Act(partial(typed, field, "1" if now == "0" else "0"), partial(typed, field, now))
    elif fields.count():
        now = fields.input_value()
        values = (f"{now}/2", "", "myshop.example.com", "http")
        yield from (Act(partial(typed, fields, v), partial(typed, fields, now)) for v in values if v != now)
    else:
        now = control.locator("button.mod-active")
        now = control.get_by_role("button", name=now.inner_text(), exact=True)
        yield from (Act(b.click, now.click) for b in control.locator("button:not(.mod-active)").all())


def told(control) -> str:
    return control.inner_text() or control.get_attribute("class")


def left(area, text: str) -> None:
    area.fill(text)
    area.press("Tab")


def typed(field, value: str) -> None:
    field.fill(value)
    field.press("Enter")


def test_the_diagrams_are_mermaid(address, page):
    """JupyterLab carries mermaid itself: what it draws GitHub draws; what it cannot parse it shows as a warning."""
    page.goto(f"{address}/lab/tree/pages.ipynb?reset")
    pictures = page.locator(".jp-RenderedMermaid img")
    expect(pictures).to_have_count(sum(text.count("```mermaid") for text in DIAGRAMS), timeout=LONG)
    assert not page.locator(".jp-RenderedMermaid.jp-mod-warning").count()


def test_what_is_drawn_is_mermaid(address, page):
    """Every diagram, whatever names are in it, shows each of its texts as it is, and nothing else."""
    page.goto(f"{address}/lab/tree/diagrams.ipynb?reset")
    made = drawings()
    expect(page.locator(".jp-RenderedMermaid img")).to_have_count(len(made), timeout=LONG)
    assert not page.locator(".jp-RenderedMermaid.jp-mod-warning").count()
    for name, image in zip(made, page.locator(".jp-RenderedMermaid img").all(), strict=True):
        lines, others = page.evaluate(DRAWN, image.get_attribute("src"))
        assert (sorted(line.replace("\u200b", "") for line in lines), others) == (labels(made[name]), 0), name
