"""Panels in a real browser: every kind of control by hand and by keyboard, a request as a dot, both themes."""

import re
from pathlib import Path

import pytest
from browser.lab import notebook, open_notebook, run_all, settings
from playwright.sync_api import Error, expect

SHOTS = Path(__file__).parent / "screenshots"
PAYMENTS = "https://myshop.example.com/payments/process/101"
CELLS = (
    "import k8slb\nfrom k8slb.show import controls\nfrom k8slb.show.panels import panel\nshop = k8slb.load('shop')",
    "panel(shop, 'http://order-service', controls.replicas('order'), controls.mode(), controls.connections())",
    f"panel(shop, '{PAYMENTS}', controls.url(), controls.rules('app-ingress'), controls.nodes())",
    "panel(shop, 'http://order-service', controls.yaml_of('service/order-service'))",
    "panel(shop, 'http://order-service', controls.seed(), controls.replicas('order', 30), sandbox=True)",
    "import matplotlib.pyplot as plt\nimport pandas as pd\n"
    "pd.Series([3, 1, 2], name='drawn beside a panel').plot.bar()\nplt.show()",
)


class Shown:
    """The `number`-th panel of the page."""

    def __init__(self, page, number: int):
        self.page, self.box = page, page.locator(".jp-OutputArea-output:has(svg[role=img])").nth(number)
        self.path, self.chart = (self.box.locator("svg[role=img]").nth(i) for i in (0, 1))
        self.path.wait_for()

    def after(self, act) -> None:
        """Do it, and wait until the pixels of one of the drawings are others."""
        self.path.scroll_into_view_if_needed()
        self.page.wait_for_timeout(200)
        before = self.pixels()
        act()
        for _ in range(50):
            self.page.wait_for_timeout(100)
            if self.pixels() != before:
                return
        raise AssertionError("the drawings stayed as they were")

    def pixels(self) -> list[bytes]:
        for _ in range(5):
            try:
                return [drawing.screenshot() for drawing in (self.path, self.chart)]
            except Error:  # it was drawn anew meanwhile
                continue
        raise AssertionError("the drawing does not come to rest")

    def key(self, place, *keys: str) -> None:
        place.focus()
        for key in keys:
            self.page.keyboard.press(key)


@pytest.fixture
def open_lab(lab_server, page, tmp_path, monkeypatch):
    def start(theme: str):
        monkeypatch.setenv("JUPYTERLAB_SETTINGS_DIR", str(settings(tmp_path / "settings", theme)))
        address = lab_server(notebook(tmp_path / "panels.ipynb", *CELLS))
        page.set_viewport_size({"width": 1280, "height": 3400})
        open_notebook(page, address, "panels.ipynb")
        run_all(page)
        expect(page.locator(".jp-OutputArea-output img")).to_have_count(1, timeout=30_000)
        return page

    return start


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_every_kind_of_control_and_the_dot(open_lab, theme):
    page = open_lab(f"JupyterLab {theme}")
    expect(page.locator("body")).to_have_attribute("data-jp-theme-light", str(theme == "Light").lower())
    numbers, routing, pane, sandbox = (Shown(page, i) for i in range(4))
    # number: slider by keyboard, box by typing; choice; logarithmic slider
    numbers.after(lambda: numbers.key(numbers.box.locator(".noUi-handle").first, "ArrowRight"))
    expect(numbers.path).to_have_attribute("aria-label", re.compile("4 pods"))
    box = numbers.box.get_by_label("replicas of order")
    numbers.after(lambda: (box.fill("7"), box.press("Enter")))
    expect(numbers.path).to_have_attribute("aria-label", re.compile("7 pods"))
    numbers.after(lambda: numbers.box.get_by_role("button", name="ipvs").click())
    numbers.after(lambda: numbers.key(numbers.box.locator(".noUi-handle").nth(1), "PageDown"))
    # a plot in another cell between two moves
    page.locator(".jp-CodeCell").last.locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
    numbers.after(lambda: (box.fill("2"), box.press("Enter")))
    expect(page.locator(".jp-OutputArea-output img")).to_have_count(1)
    # text; rules: add, edit, up, remove
    url = routing.box.get_by_label("URL")
    routing.after(lambda: (url.fill("https://myshop.example.com/nothing"), url.press("Enter")))
    routing.after(lambda: (url.fill(PAYMENTS), url.press("Enter")))
    rows = routing.box.get_by_role("button", name="remove")
    routing.box.get_by_role("button", name="add a row").click()
    expect(rows).to_have_count(3)
    path, backend = (routing.box.locator(f'input[title="{what} of row 3"]') for what in ("path", "backend"))
    path.fill("/payments/process")
    path.press("Enter")
    routing.after(lambda: (backend.fill("order-service:80"), backend.press("Enter")))
    routing.box.get_by_role("button", name="up").nth(2).press("Enter")
    expect(routing.box.locator('input[title="path of row 2"]')).to_have_value("/payments/process")
    routing.after(lambda: rows.nth(1).press("Enter"))
    expect(rows).to_have_count(2)
    # YAML: broken, then right
    area = pane.box.locator("textarea")
    text = area.input_value()
    area.fill(text.replace("port: 80", "port: eighty"))
    area.press("Tab")
    expect(pane.box.get_by_role("alert")).to_contain_text('line 9, "- port: eighty"')
    pane.after(lambda: (area.fill(text.replace("app: order", "app: payment")), area.press("Tab")))
    expect(pane.box.get_by_role("alert")).to_have_count(0)
    pane.box.get_by_role("button", name="As a table").press("Enter")
    expect(pane.box.get_by_role("columnheader", name="exact share", exact=True)).to_be_visible()
    # requests as dots, by keyboard
    step = routing.box.get_by_role("button", name="Step")
    routing.after(lambda: step.press("Enter"))
    routing.after(lambda: step.press("Enter"))
    expect(routing.box.locator("p", has_text="request 2: node-")).to_be_visible()
    moving = "getComputedStyle(document.querySelector('.k8slb-dot')).animationName"
    page.wait_for_timeout(1100)
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(moving) == "none"
    routing.after(lambda: step.press("Enter"))
    standing = routing.path.screenshot()
    page.wait_for_timeout(600)
    assert routing.path.screenshot() == standing, "who asks for less motion sees the dot at its end"
    page.emulate_media(reduced_motion="no-preference")
    assert page.evaluate(moving) == "k8slb-move"
    page.wait_for_timeout(1100)
    for name, shown in (("numbers", numbers), ("routing", routing), ("pane", pane), ("sandbox", sandbox)):
        SHOTS.mkdir(exist_ok=True)
        shown.box.screenshot(path=SHOTS / f"{name}-{theme.lower()}.png")
    # the clock starts when asked, and stops at the start
    play = sandbox.box.get_by_role("button", name="Play")
    sandbox.after(lambda: play.press("Enter"))
    expect(sandbox.box.locator("p", has_text="request 2:")).to_be_visible(timeout=10_000)
    sandbox.after(lambda: sandbox.box.get_by_role("button", name="Back to start").press("Enter"))
    page.wait_for_timeout(2000)
    expect(play).to_have_count(1)  # it says Pause while it runs
    expect(sandbox.box.locator("p", has_text="Step sends the first request")).to_be_visible()
    assert not page.locator('.jp-RenderedText[data-mime-type="application/vnd.jupyter.stderr"]').count()
