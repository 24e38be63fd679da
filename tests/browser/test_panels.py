"""Panels in a real browser: every kind of control by hand and by keyboard, a request as a dot."""

import re
import time

from browser.lab import LONG, drawn, notebook, open_notebook, run_all, settings
from playwright.sync_api import Error, expect

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


expect.set_options(timeout=60_000)


class Shown:
    """The `number`-th panel of the page."""

    def __init__(self, page, number: int):
        self.page, self.box = page, page.locator(".jp-OutputArea-output:has(svg[role=img])").nth(number)
        self.path, self.chart = (self.box.locator("svg[role=img]").nth(i) for i in (0, 1))
        self.path.wait_for()

    def after(self, act) -> None:
        """Do it, and wait until the pixels of one of the drawings are others."""
        before = self.pixels()
        act()
        self.until(lambda: self.pixels() != before, "the drawings stayed as they were")

    def until(self, true, told: str) -> None:
        end = time.monotonic() + LONG / 1000
        while not true():
            assert time.monotonic() < end, told

    def pixels(self) -> list[bytes]:
        drawn(self.page)
        try:
            return [drawing.screenshot(animations="allow") for drawing in (self.path, self.chart)]
        except Error:  # it was drawn anew meanwhile
            return self.pixels()

    def key(self, place, *keys: str) -> None:
        place.focus()
        for key in keys:
            self.page.keyboard.press(key)


def test_every_kind_of_control_and_the_dot(lab_server, page, tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTERLAB_SETTINGS_DIR", str(settings(tmp_path / "settings", "JupyterLab Dark")))
    address = lab_server(notebook(tmp_path / "panels.ipynb", *CELLS))
    page.set_viewport_size({"width": 1280, "height": 3400})
    open_notebook(page, address, "panels.ipynb")
    run_all(page)
    expect(page.locator(".jp-OutputArea-output img")).to_have_count(1)
    expect(page.locator("body")).to_have_attribute("data-jp-theme-light", "false")
    numbers, routing, pane, sandbox = (Shown(page, i) for i in range(4))
    # number: slider by keyboard, box by typing; choice; logarithmic slider
    numbers.after(lambda: numbers.key(numbers.box.locator(".noUi-handle").first, "ArrowRight"))
    expect(numbers.path).to_have_attribute("aria-label", re.compile("order-4 1/4"))
    box = numbers.box.get_by_label("replicas of order")
    numbers.after(lambda: (box.fill("70"), box.press("Enter")))
    expect(numbers.box.get_by_text("at most 10 here")).to_be_visible()
    expect(box).to_have_value("10")
    numbers.after(lambda: (box.fill("7"), box.press("Enter")))
    expect(numbers.box.get_by_text("at most 10 here")).to_have_count(0)
    expect(numbers.path).to_have_attribute("aria-label", re.compile("order-7 1/7"))
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
    running = "document.getAnimations().some((a) => a.animationName === 'k8slb-move' && a.playState === 'running')"
    moving = "getComputedStyle(document.querySelector('.k8slb-dot')).animationName"
    routing.until(lambda: not page.evaluate(running), "the dot moves for a second")
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(moving) == "none"
    routing.after(lambda: step.press("Enter"))
    assert not page.evaluate(running), "who asks for less motion sees the dot at its end"
    page.emulate_media(reduced_motion="no-preference")
    assert page.evaluate(moving) == "k8slb-move"
    # the clock starts when asked, and stops at the start
    play = sandbox.box.get_by_role("button", name="Play")
    sandbox.after(lambda: play.press("Enter"))
    expect(sandbox.box.locator("p", has_text="request 2:")).to_be_visible()
    sandbox.after(lambda: sandbox.box.get_by_role("button", name="Back to start").press("Enter"))
    page.wait_for_timeout(2000)  # longer than the clock's 1.4 s
    expect(play).to_have_count(1)  # it says Pause while it runs
    expect(sandbox.box.locator("p", has_text="Step sends the first request")).to_be_visible()
    assert not page.locator('.jp-RenderedText[data-mime-type="application/vnd.jupyter.stderr"]').count()
