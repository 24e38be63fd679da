"""`make lite` in a real browser: the cores run on a server of files, and nobody else is asked anything."""

import os
import subprocess
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest
from browser.lab import LONG, command, drawn, run_all
from conftest import CHROMIUM
from playwright.sync_api import expect, sync_playwright

ROOT = Path(__file__).parent.parent.parent
SITE = ROOT / "dist" / "lite"
KERNEL = "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel"
# lesson, the exercise's stub, wrong and right answers with what is said of them
LESSONS = {
    "00-one-request": {
        "exercise": "00.1",
        "wrong": 'check("00.1", ["dns", "ingress", "cloud-lb", "kube-proxy", "pods"])',
        "right": 'check("00.1", ["dns", "cloud-lb", "kube-proxy", "ingress", "pods"])',
    },
    "02-random-vs-round-robin": {
        "exercise": "02.1",
        "wrong": 'check("02.1", lambda connections, pods: 1 / pods)',
        "right": "from math import factorial\n\n\ndef even(connections, pods):\n"
        "    each, left = divmod(connections, pods)\n"
        "    return 0 if left else factorial(connections) / factorial(each) ** pods / pods**connections\n\n\n"
        'check("02.1", even)',
    },
    "09-ingress-routing": {
        "exercise": "09.1",
        "wrong": 'check("09.1", lambda path: path)',
        "right": "def seen(path):\n"
        '    return "/" if path.lower().startswith(("/orders", "/payments")) else "404"\n\n\ncheck("09.1", seen)',
    },
}
expect.set_options(timeout=LONG)


class Files(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


class Elsewhere(SimpleHTTPRequestHandler):
    """The proxy to everywhere else: it notes who was asked for, and gives nothing."""

    asked: ClassVar[list[str]] = []

    def refuse(self) -> None:
        self.asked.append(self.path)
        self.send_error(502)

    do_CONNECT = do_GET = do_HEAD = do_POST = refuse

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def serving(handler):
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def pages():
    """`opened()` is a page of a new browser that reaches the site, and by way of the proxy nobody."""
    if CHROMIUM is None:
        pytest.skip("needs chromium (apt-get install chromium libatomic1)")
    if os.environ.get("K8SLB_LITE") != "built":  # for who works on this test
        made = subprocess.run(["make", "-C", str(ROOT), "lite"], capture_output=True, text=True)
        if made.returncode and not (ROOT / ".venv-lite" / ".ready").exists():
            pytest.skip(f"make lite has nothing to build with here: {made.stderr.strip()[-200:]}")
        assert made.returncode == 0, made.stderr[-2000:]
    with serving(partial(Files, directory=str(SITE))) as site, serving(Elsewhere) as proxy, sync_playwright() as driver:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
        # The browser's own questions, of which the page knows nothing, stay out of the count.
        flags += ["--disable-component-update", "--disable-sync", "--disable-features=AutofillServerCommunication"]
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=flags)
        proxied = {"proxy": {"server": proxy, "bypass": "127.0.0.1"}, "viewport": {"width": 1280, "height": 2400}}
        yield lambda: browser.new_context(**proxied).new_page(), site
        browser.close()


def cell(page, text: str):
    return page.locator(".jp-CodeCell").filter(has_text=text).first


@pytest.mark.parametrize("name", LESSONS)
def test_a_core_runs_in_the_browser_alone(pages, name):
    (opened, site), given, lesson = pages, LESSONS[name], name[:2]
    page = opened()  # with a storage of its own, as a newcomer's
    page.goto(f"{site}/lab/index.html?path={name}.ipynb")
    page.wait_for_function(f"{KERNEL}?.status === 'idle'", timeout=LONG)
    run_all(page, wait=False)
    veiled = page.locator(".jp-OutputArea-output:has(button:text('Lock my guess'))").first
    veiled.locator("input[type=radio]").first.wait_for(timeout=LONG)
    assert not veiled.locator("svg[role=img]").count()  # nothing shows behind the veil
    veiled.locator("input[type=radio]").first.check()
    veiled.get_by_role("button", name="Lock my guess").click()
    path = veiled.locator("svg[role=img]").first
    path.wait_for()
    page.wait_for_function(f"{KERNEL}?.status === 'idle'", timeout=LONG)
    expect(veiled.get_by_text("guess").first).to_be_visible()

    # a control moves the drawing, and the numbers follow
    shown = veiled.locator(".k8slb-text")
    before = shown.evaluate_all("all => all.map(one => one.innerHTML).join()")
    if lesson == "09":
        url = veiled.locator("input[type=text]").last
        url.fill("https://myshop.example.com/orders/7")
        url.press("Enter")
    else:
        veiled.locator(".noUi-handle").first.focus()
        page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "([box, before]) => [...box.querySelectorAll('.k8slb-text')].map(one => one.innerHTML).join() !== before",
        arg=[veiled.element_handle(), before],
        timeout=LONG,
    )
    drawn(page)
    veiled.get_by_role("button", name="Step").click()
    expect(veiled.get_by_text("request 1").first).to_be_visible()

    # an exercise: the stub, then a wrong and the right answer
    stub = cell(page, f'check("{given["exercise"]}"')
    expect(stub.locator(".jp-OutputArea-output").first).to_contain_text("not answered yet")
    for kind, told in (("wrong", "✗"), ("right", "✔")):
        page.evaluate(
            "([text, code]) => { const panel = jupyterapp.shell.currentWidget.content;"
            " const at = panel.widgets.findIndex(one => one.model.type == 'code'"
            " && one.model.sharedModel.getSource().includes(text));"
            " panel.activeCellIndex = at; panel.widgets[at].model.sharedModel.setSource(code) }",
            [f'check("{given["exercise"]}"', given[kind]],
        )
        command(page, "notebook:run-cell")
        expect(cell(page, f'check("{given["exercise"]}"').locator(".jp-OutputArea-output").first).to_contain_text(told)
    assert not page.locator("[data-mime-type='application/vnd.jupyter.stderr']").count()
    assert Elsewhere.asked == []
    page.context.close()
