"""A process of its own for what is real: whatever it makes ends with it, and it ends with whoever started it.

The parent keeps one end of a pipe and the child reads the other: however the parent ends, also by kill -9, the child
reads the end of the pipe, cleans up and goes.
"""

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from select import select
from typing import Any

from ..errors import K8slbError, NotHere


class RealError(K8slbError):
    """A real component did not do as it was asked: its own words."""


class Supervised:
    """The parent's side: `ask` sends one question and waits for the answer; a context manager that ends the child."""

    def __init__(self, module: str):
        command = [sys.executable, "-m", module]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        try:
            self.process = subprocess.Popen(command, start_new_session=True, **pipes)
        except OSError as error:
            raise NotHere(f"{sys.executable}, which cannot be started ({error.strerror})") from None

    def ask(self, what: str, seconds: float = 60.0, **given: Any) -> Any:
        """What the child's function `what` makes of `given`. Raises what it raises; RealError after so many seconds or
        once it has ended. Whoever is interrupted ends it: the next question would get this one's answer."""
        try:
            with suppress(BrokenPipeError):
                print(json.dumps([what, given]), file=self.process.stdin, flush=True)
            line = self.process.stdout.readline() if select([self.process.stdout], [], [], seconds)[0] else None
        except ValueError:
            raise RealError("it has ended: start it anew") from None
        except KeyboardInterrupt:
            self.close()
            raise
        if not line:
            self.close()
            ended = f"it ended without an answer (exit code {self.process.returncode})"
            raise RealError(f"no answer within {seconds:g} s" if line is None else ended)
        kind, answer = json.loads(line)
        if kind == "answer":
            return answer
        raise {"NotHere": NotHere}.get(kind, RealError)(answer)

    def close(self) -> None:
        """End it, and wait until it has cleaned up."""
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def serve(functions: dict[str, Callable], at_end: ExitStack) -> None:
    """The child's side: answer until the pipe ends, then do what `at_end` holds, also in the midst of an answer."""
    asked: queue.Queue[str] = queue.Queue()

    def listen() -> None:
        for line in sys.stdin:
            asked.put(line)
        with suppress(Exception):
            at_end.close()
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    out, sys.stdout = sys.stdout, sys.stderr  # nothing else may write between the answers
    while True:
        what, given = json.loads(asked.get())
        try:
            said = ["answer", functions[what](**given)]
        except K8slbError as error:
            said = [type(error).__name__, str(error)]
        except Exception as error:
            said = ["RealError", f"{type(error).__name__}: {error}"]
        print(json.dumps(said), file=out, flush=True)
