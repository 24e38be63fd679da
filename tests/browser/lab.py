"""JupyterLab in a browser: its settings, opening a notebook, and what its menus do, asked for by the command's name.

A menu drops a click that comes too early; a command does not. The server runs with `expose_app_in_browser`.
"""

import json
from pathlib import Path

import nbformat

APPUTILS = "@jupyterlab/apputils-extension"
KERNEL = "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel"
LONG = 120_000  # ms; a busy machine with two cores


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
    """Open it, and wait until its kernel has started."""
    page.goto(f"{address}/lab/tree/{name}?reset")
    page.wait_for_function(f"{KERNEL}?.status === 'idle'", timeout=LONG)


def command(page, name: str, wait: bool = True, **given) -> None:
    """Do what a menu does, and `wait` until it is done."""
    page.evaluate(
        "([name, given]) => { window.did = 0; jupyterapp.commands.execute(name, given).finally(() => window.did = 1) }",
        [name, given],
    )
    if wait:
        page.wait_for_function("window.did", timeout=LONG)


def run_all(page, wait: bool = True) -> None:
    command(page, "notebook:run-all-cells", wait)


def drawn(page) -> None:
    """Wait until the browser has drawn what it was told last."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
