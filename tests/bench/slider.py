"""From a key press on a slider to changed pixels: matplotlib's usual ways and a panel, in one browser, in turn.

Two peers: the bare bar chart that most notebooks have, and the chart with what is needed to read it.

python tests/bench/slider.py [ROUNDS]
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))
from browser.lab import notebook, open_notebook, run_all, settings

from k8slb.course.lab import free_port

# What a notebook would do without panels: bars alone; and title, labels, exact shares, values.
BARE = """
import matplotlib.pyplot as plt
from ipywidgets import interact
def bare(replicas=3):
    counts = shop.scale("order", replicas).send("http://order-service").counts()
    plt.bar(list(counts), list(counts.values()))
    plt.show()
interact(bare, replicas=(1, 10))
"""
LABELLED = """
def bars(replicas=3):
    run = shop.scale("order", replicas).send("http://order-service")
    counts, exact = run.counts(), run.exact
    fig, axes = plt.subplots(figsize=(6, 3.5))
    drawn = axes.bar(list(counts), list(counts.values()), label="sampled")
    axes.bar_label(drawn)
    axes.plot(list(exact), [1000 * float(share) for share in exact.values()], "D", color="black", label="exact")
    axes.set(title=run.sentence, xlabel="pod", ylabel="requests")
    axes.legend()
    plt.show()
interact(bars, replicas=(1, 10))
"""
CELLS = (
    "import k8slb\nfrom k8slb.show import controls\nfrom k8slb.show.panels import panel\nshop = k8slb.load('shop')",
    BARE,
    LABELLED,
    "panel(shop, 'http://order-service', controls.replicas('order'))",
)
# The clock starts in the page at the key press, and stops in the first animation frame that shows another picture.
WATCH = """
cell => new Promise(done => {
  const out = document.querySelectorAll('.jp-CodeCell')[cell];
  const seen = () => [...out.querySelectorAll('img')].map(i => i.complete ? i.src : '').join()
    + [...out.querySelectorAll('svg[role=img]')].map(s => s.outerHTML).join();
  const before = seen();
  out.addEventListener('keydown', () => {
    const start = performance.now();
    const look = () => {
      const now = seen();
      if (now !== before && now !== '') done(performance.now() - start);
      else requestAnimationFrame(look);
    };
    look();
  }, {once: true, capture: true});
})
"""


def once(page, cell: int, key: str) -> float:
    handle = page.locator(".jp-CodeCell").nth(cell).locator(".noUi-handle").first
    handle.focus()
    page.evaluate(f"() => {{ window.took = ({WATCH})({cell}) }}")  # the promise is waited for below
    page.keyboard.press(key)
    took = page.evaluate("window.took")
    page.wait_for_timeout(400)
    return took


def main() -> None:
    times: dict[int, list[float]] = {1: [], 2: [], 3: []}
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        root = Path(folder)
        notebook(root / "slider.ipynb", *CELLS)
        port = free_port()
        config = {"JUPYTERLAB_SETTINGS_DIR": str(settings(root / "settings", "JupyterLab Light"))}
        config["JUPYTER_CONFIG_DIR"] = str(root / "config")
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}"]
        command += [
            "--LabApp.expose_app_in_browser=True",
            f"--ServerApp.root_dir={root}",
            "--ip=127.0.0.1",
            "--IdentityProvider.token=",
        ]
        server = subprocess.Popen(command, env={**os.environ, **config}, stderr=subprocess.DEVNULL)
        try:
            for _ in range(300):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/api", timeout=5).close()
                    break
                except OSError:
                    time.sleep(0.1)
            flags = ["--no-sandbox", "--disable-gpu"]
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=flags)
            page = browser.new_page(viewport={"width": 1280, "height": 2200})
            open_notebook(page, f"http://127.0.0.1:{port}", "slider.ipynb")
            run_all(page)
            page.locator("svg[role=img]").nth(1).wait_for()
            page.wait_for_timeout(1500)
            for number in range(rounds):
                for cell in times:
                    times[cell].append(once(page, cell, "ArrowRight" if number % 8 < 4 else "ArrowLeft"))
            browser.close()
        finally:
            server.terminate()
            server.wait()
    usual = {1: "interact, plt.bar, plt.show", 2: "the same, labelled", 3: "k8slb panel"}
    median = {cell: statistics.median(took[2:]) for cell, took in times.items()}
    for cell, name in usual.items():
        low, *_, high = statistics.quantiles(times[cell][2:], n=10)
        ratio = f"; a panel takes {median[3] / median[cell]:.2f} of it (goal: at most 0.25)" if cell < 3 else ""
        print(f"{name:<28} median {median[cell]:6.1f} ms  (p10 {low:.0f}, p90 {high:.0f}){ratio}")


if __name__ == "__main__":
    main()
