"""Run a learner's code for a bounded time, on any thread of any system."""

import contextlib
import ctypes
import io
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any


class _Stop(SystemExit):
    """Raised inside code that took too long. As a SystemExit it ends a thread without a word."""


def bounded(run: Callable[[], Any], seconds: float) -> Any:
    """What `run()` returns or raises; TimeoutError if it has not ended by then. What it prints is not shown.

    A thread, because a signal reaches the main thread only and a fork of a running kernel can hang. Python code is
    then ended from outside, also where it catches everything; what waits in C (sleep) is left behind, waiting. Where no
    thread can start, as in a browser, it runs unbounded.
    """
    outcome: Future = Future()

    def work() -> None:
        try:
            outcome.set_result(run())
        except BaseException as error:  # sys.exit() must not pass for an answer, nor end the lesson
            outcome.set_exception(error)

    thread = threading.Thread(target=work, daemon=True)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            thread.start()
        except RuntimeError:
            work()
            return outcome.result()
        try:
            thread.join(seconds)
            late = thread.is_alive()
        finally:  # also when the learner interrupts the kernel
            _stop(thread)
    if late:
        raise TimeoutError
    return outcome.result()


def _stop(thread: threading.Thread) -> None:
    end = time.monotonic() + 1
    while thread.is_alive() and time.monotonic() < end:  # again and again: the code may catch it
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(_Stop))
        thread.join(0.01)
