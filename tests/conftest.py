"""What many tests share: no skipping in CI, a JupyterLab server, a browser page."""

import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from k8slb.course.lab import free_port

CHROMIUM = next(filter(None, map(shutil.which, ("/usr/bin/chromium", "chromium", "google-chrome"))), None)


class NothingSkips:
    """CI installs everything, so a skip there is a test that silently stopped running: it fails instead."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self):
        return self.failed((yield))

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self):
        return self.failed((yield))

    @staticmethod
    def failed(report):
        if report.skipped and not hasattr(report, "wasxfail"):
            report.outcome = "failed"
            report.longrepr = f"skipped, but nothing may skip with K8SLB_CI=1: {report.longrepr[2]}"
        return report


def pytest_configure(config):
    if os.environ.get("K8SLB_CI") == "1":
        config.pluginmanager.register(NothingSkips())  # registered, not a bare hook: the notebooks are not below tests/


@pytest.fixture(scope="session")
def lab_server(tmp_path_factory):
    """`lab_server(*notebooks)` serves copies of them, as they are, and returns the base address (no token)."""
    with ExitStack() as stack:

        def start(*notebooks: Path) -> str:
            folder = tmp_path_factory.mktemp("lab")
            for notebook in notebooks:
                shutil.copy(notebook, folder)
            address = f"http://127.0.0.1:{(port := free_port())}"
            command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1"]
            command += [f"--port={port}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={folder}"]
            command += ["--IdentityProvider.token=", "--log-level=ERROR", "--LabApp.log_level=ERROR"]
            command += ["--LabApp.expose_app_in_browser=True"]  # tests/browser/lab.py gives JupyterLab's commands
            command += ["--ContentsManager.pre_save_hook=k8slb.course.saved.pictures_only"]  # as `k8slb lab` has it
            # The settings of whoever runs the tests stay out of them.
            env = {**os.environ, "JUPYTER_CONFIG_DIR": str(tmp_path_factory.mktemp("config"))}
            server = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, start_new_session=True)
            stack.callback(stop, server)
            for _ in range(300):
                with suppress(urllib.error.URLError):
                    urllib.request.urlopen(f"{address}/api", timeout=5).close()
                    return address
                assert server.poll() is None, "JupyterLab ended at once"
                time.sleep(0.1)
            pytest.fail("JupyterLab did not answer within 30 s")

        yield start


def stop(server: subprocess.Popen) -> None:
    server.terminate()
    try:
        server.wait(10)
    except subprocess.TimeoutExpired:
        server.kill()


@pytest.fixture(scope="module")
def browser():
    """The system's Chromium. Shared within a module only: a running Playwright would break other tests' asyncio."""
    if CHROMIUM is None:
        pytest.skip("needs chromium (apt-get install chromium libatomic1)")
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    flags += ["--disable-component-update", "--disable-sync"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser.new_context()  # with one cache: JupyterLab is many megabytes
        browser.close()


@pytest.fixture
def page(browser):
    page = browser.new_page()
    page.set_viewport_size({"width": 1280, "height": 900})
    yield page
    page.close()
