"""What a reader sees in JupyterLab in a real browser: the lessons, and the pages' diagrams."""

import re
from pathlib import Path

import nbformat
import pytest
from browser.lab import open_notebook, run_all
from playwright.sync_api import expect

from k8slb.course.lab import copies, stored

ROOT = Path(__file__).parents[2]


STORED_PICTURES = """async (name) => {
    const model = await (await fetch("/api/contents/" + name)).json();
    return model.content.cells.flatMap((c) => c.outputs || []).filter((o) => (o.data || {})["image/png"]).length;
}"""
END_SESSIONS = """async () => {
    const headers = {"X-XSRFToken": document.cookie.match(/_xsrf=([^;]*)/)[1]};
    for (const session of await (await fetch("/api/sessions")).json())
        await fetch("/api/sessions/" + session.id, {method: "DELETE", headers});
}"""
LESSONS = sorted(path.name for path in stored().glob("*.ipynb"))


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_from_the_guess_to_the_next_day(lab_server, page, tmp_path, name):
    address = lab_server(*copies(stored(), tmp_path / "lessons"))
    open_notebook(page, address, name)
    assert not page.locator(".jp-OutputArea-output img").count(), "no answer before the guess"
    run_all(page)
    panel = page.locator(".jp-CodeCell", has=page.get_by_role("button", name="Lock my guess"))
    expect(panel.locator("svg[role=img]")).to_have_count(0)
    panel.locator("input[type=radio]").first.check()
    panel.get_by_role("button", name="Lock my guess").click()
    drawing = panel.locator("svg[role=img]").first
    expect(drawing).to_be_visible()
    expect(panel.get_by_text("Your guess")).to_be_visible()
    expect(panel.locator("input[type=radio]").first).to_be_disabled()
    drawing.scroll_into_view_if_needed()
    pixels = drawing.screenshot()
    panel.get_by_role("button", name="Step").click()
    expect(drawing).to_have_attribute("aria-label", re.compile("^request 1"))
    assert drawing.screenshot() != pixels
    assert not page.locator('.jp-RenderedText[data-mime-type="application/vnd.jupyter.stderr"]').count()
    expect(page.get_by_role("button", name="Step")).to_have_count(2)  # the sandbox at the end is there: all has run
    pictures = page.locator(".jp-OutputArea-output img").count()
    for _ in range(50):
        page.keyboard.press("Control+s")
        page.wait_for_timeout(200)
        if page.evaluate(STORED_PICTURES, name) == pictures + 2:  # the two panels are stored as pictures
            break
    page.evaluate(END_SESSIONS)  # the kernel is gone overnight
    open_notebook(page, address, name)

    expect(page.locator(".jp-OutputArea-output img")).to_have_count(pictures + 2, timeout=20_000)
    assert "model not found" not in page.locator(".jp-Notebook").inner_text()
    run_all(page)
    expect(panel.locator("input[type=radio]").first).to_be_disabled()


def test_the_diagrams_are_mermaid(lab_server, page, tmp_path):
    """JupyterLab carries mermaid itself: what it draws GitHub draws; what it cannot parse it shows as a warning."""
    pages = [(ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "ARCHITECTURE.md")]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text) for text in pages])
    nbformat.write(notebook, tmp_path / "pages.ipynb")
    open_notebook(page, lab_server(tmp_path / "pages.ipynb"), "pages.ipynb")
    drawn = page.locator(".jp-RenderedMermaid img")
    expect(drawn).to_have_count(sum(text.count("```mermaid") for text in pages), timeout=60_000)
    assert not page.locator(".jp-RenderedMermaid.jp-mod-warning").count()
