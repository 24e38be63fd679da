"""JupyterLab in a browser: its settings, opening a notebook, running it."""

import json
from pathlib import Path

import nbformat

MENU = '.lm-Menu-item[data-command="runmenu:run-all"]'
APPUTILS = "@jupyterlab/apputils-extension"


def settings(folder: Path, theme: str) -> Path:
    """A folder for JUPYTERLAB_SETTINGS_DIR: that theme, and no pop-up that asks about news."""
    written = {"themes": {"theme": theme}, "notification": {"fetchNews": "false", "checkForUpdates": False}}
    for name, content in written.items():
        file = folder / APPUTILS / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content))
    return folder


def notebook(path: Path, *cells: str) -> Path:
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}  # without it JupyterLab asks for one
    made = nbformat.v4.new_notebook(metadata=kernel, cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbformat.write(made, path)
    return path


def open_notebook(page, address: str, name: str) -> None:
    page.goto(f"{address}/lab/tree/{name}?reset")
    page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="idle"]', timeout=60_000)
    page.wait_for_timeout(500)  # JupyterLab drops a click on its menu just after the kernel is ready


def run_all(page) -> None:
    for _ in range(4):
        page.click('.lm-MenuBar-item:has-text("Run")')
        page.wait_for_selector(MENU)
        page.wait_for_timeout(300)
        page.click(MENU)
        try:
            page.wait_for_selector(".noUi-handle", timeout=20_000)
            return
        except Exception:  # the click was lost: again
            page.keyboard.press("Escape")
    raise AssertionError("Run All had no effect")
