"""What a reader sees in JupyterLab in a real browser: the first lesson's panel, and the README's diagram."""

from pathlib import Path

import nbformat
from browser.lab import open_notebook, run_all
from playwright.sync_api import expect

from k8slb.course.lab import copies, stored

ROOT = Path(__file__).parents[2]


def test_the_first_lesson_in_a_browser(lab_server, page, tmp_path):
    written = copies(stored(), tmp_path / "lessons")
    address = lab_server(*written)
    open_notebook(page, address, "00-one-request.ipynb")
    run_all(page)
    drawing = page.locator("svg[role=img]").first
    expect(drawing).to_be_visible(timeout=30_000)
    before = drawing.get_attribute("aria-label")
    assert "3 pods" in before and drawing.screenshot()
    handle = page.locator(".noUi-handle").first
    handle.scroll_into_view_if_needed()
    pixels = drawing.screenshot()
    handle.focus()
    page.keyboard.press("ArrowRight")
    after = before.replace("3 pods", "4 pods").replace("1/3 = 33.3%", "1/4 = 25.0%")
    expect(page.locator("svg[role=img]").first).to_have_attribute("aria-label", after)
    assert page.locator("svg[role=img]").first.screenshot() != pixels
    assert page.locator(".jp-OutputArea-output img").count() >= 2, "the plot and the picture of the cluster"
    assert not page.locator('.jp-RenderedText[data-mime-type="application/vnd.jupyter.stderr"]').count()


def test_the_diagrams_are_mermaid(lab_server, page, tmp_path):
    """JupyterLab carries mermaid itself: what it draws GitHub draws; what it cannot parse it shows as a warning."""
    pages = [(ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "ARCHITECTURE.md")]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text) for text in pages])
    nbformat.write(notebook, tmp_path / "pages.ipynb")
    open_notebook(page, lab_server(tmp_path / "pages.ipynb"), "pages.ipynb")
    drawn = page.locator(".jp-RenderedMermaid img")
    expect(drawn).to_have_count(sum(text.count("```mermaid") for text in pages), timeout=60_000)
    assert not page.locator(".jp-RenderedMermaid.jp-mod-warning").count()
