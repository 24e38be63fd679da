"""The child of `proxies`: stand-ins for pods, one proxy and its clients on 127.0.0.0/8, all of which end with it.

The clients speak the PROXY protocol (version 1), so that the proxy sees each with an address of its own.
"""

import asyncio
import ctypes
import json
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Coroutine
from contextlib import ExitStack, suppress
from heapq import heappop, heappush
from itertools import islice
from pathlib import Path
from typing import Any

from ..decision import Work
from ..serving import units
from .supervised import RealError, serve

PATIENCE = 15.0  # seconds that a client waits for an answer
LARGEST = 1 << 20  # bytes of a head or a body
PORTS = range(20_000, 32_000)  # below those that Linux gives connections
HOMES = ("HOME", "TMPDIR", "XDG_DATA_HOME", "XDG_CONFIG_HOME")
AT_END, LOOP = ExitStack(), asyncio.new_event_loop()
Told = dict[str, Any]
PODS: list["Pod"] = []
STARTED: list[subprocess.Popen] = []


def head_of(text: bytes) -> tuple[str, list[tuple[str, str]]]:
    """The first line of a request or an answer, and its headers, names in lower case."""
    first, *lines = text.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines if line)
    return first, [(name.strip().lower(), value.strip()) for name, _, value in pairs]


class Pod:
    """The stand-in for a pod, as slow and as bad as its annotations say. It answers with JSON of what came to it."""

    def __init__(self, told: Told):
        self.told, self.waiting, (self.share, self.failure) = told, 0, told["fail"]
        self.work = Work(**told["work"]) if told["work"] else None
        self.free = asyncio.Semaphore(self.work.workers if self.work else 1)
        self.unit = units(self.work, random.Random()) if self.work else None

    async def opens(self) -> str:
        """Where it listens: at the address it is told, at another port where that one is taken. One that refuses keeps
        its port to itself, and does not listen."""
        (host, _, port), listens = self.told["listen"].rpartition(":"), self.told["does"] != "reject"
        stays = self.told["listen"] == self.told["pod"]
        for number in (int(port),) if stays else (int(port), 0):
            with suppress(OSError):
                self.held = socket.socket()
                self.held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, listens or stays)  # after one just closed
                self.held.bind((host, number))
                if listens:
                    await asyncio.start_server(self.serves, sock=self.held, backlog=1024, limit=LARGEST)
                return f"{host}:{self.held.getsockname()[1]}"
        raise RealError(f"something listens on {self.told['listen']} already")

    async def serves(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        with suppress(OSError, EOFError, ValueError, asyncio.LimitOverrunError):
            over = False
            while not over:
                asked, pairs = head_of(await reader.readuntil(b"\r\n\r\n"))
                headers = {name: ",".join(v for n, v in pairs if n == name) for name, _ in pairs}
                if self.told["does"] == "drop":
                    await asyncio.sleep(3600)
                room, (method, path, version) = await self._turn(), asked.split(" ", 2)
                status = 503 if not room else self.failure if random.random() < self.share else 200
                given = headers.get("connection", "").lower()
                over = given == "close" or (version == "HTTP/1.0" and given != "keep-alive")
                seen = {"path": path, "host": headers.pop("host", ""), "headers": headers}
                body = json.dumps(seen | {"source": writer.get_extra_info("peername")[0]})
                lines = (f"HTTP/1.1 {status} -", f"x-pod: {self.told['pod']}", f"content-length: {len(body)}")
                lines += (f"connection: {'close' if over else 'keep-alive'}", "content-type: application/json", "")
                writer.write("\r\n".join((*lines, "" if method == "HEAD" else body)).encode())
        writer.close()

    async def _turn(self) -> bool:
        """Its turn and its time; whether there was room to wait for it."""
        if not self.work:
            return True
        if self.free.locked() and self.work.queue is not None and self.waiting >= self.work.queue:
            return False
        self.waiting += 1
        async with self.free:
            self.waiting -= 1
            await asyncio.sleep(self.work.mean * self.unit())
        return True


def stand(pods: list[Told]) -> Told:
    """Opens the stand-ins; where each listens, three free ports, and a folder for the proxy."""
    folder = tempfile.mkdtemp(prefix="k8slb-")
    AT_END.callback(shutil.rmtree, folder, ignore_errors=True)
    ports = islice(filter(_free, random.sample(PORTS, len(PORTS))), 3)
    return {"at": opened(pods), "ports": list(ports), "folder": folder}


def opened(pods: list[Told]) -> list[str]:
    async def each() -> list[str]:
        PODS.extend(map(Pod, pods))
        return [await pod.opens() for pod in PODS[-len(pods) :]] if pods else []

    return _run(each(), 20)


def _free(port: int) -> bool:
    with socket.socket() as one, suppress(OSError):
        one.bind(("127.0.0.1", port))
        return True
    return False


def _run(task: Coroutine, seconds: float) -> Any:
    try:
        return asyncio.run_coroutine_threadsafe(asyncio.wait_for(task, seconds), LOOP).result()
    except TimeoutError:
        raise RealError(f"not done after {seconds:g} s") from None


def start(command: list[str], files: dict[str, str], folder: str, listen: int, seconds: float = 20.0) -> None:
    """Writes the files, starts the proxy and waits until it listens; RealError with its last lines if it ends."""
    parent, prctl = os.getpid(), ctypes.CDLL(None).prctl

    def dies_with_me() -> None:
        prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)

    for name, text in files.items():
        Path(folder, name).write_text(text, encoding="utf-8")
    log, own = Path(folder, "log"), {"PATH": os.environ.get("PATH", "")} | dict.fromkeys(HOMES, folder)
    with log.open("wb") as out:
        told = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": out, "preexec_fn": dies_with_me}
        proxy = subprocess.Popen(command, cwd=folder, env=own, **told)
    AT_END.callback(proxy.wait)
    AT_END.callback(proxy.kill)
    until = time.monotonic() + seconds
    while proxy.poll() is None and time.monotonic() < until:
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", listen)) == 0:
                return STARTED.append(proxy)
        time.sleep(0.02)
    how = f"does not listen after {seconds:g} s" if proxy.returncode is None else f"ended with {proxy.returncode}"
    last = log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:]
    raise RealError("\n".join([f"{Path(command[0]).name} {how}:", *last]))


class Client:
    """A connection to the proxy, from the address `source` to what the proxy takes for the port `to`; `jar` has the
    cookies of whoever it is."""

    def __init__(self, source: str, jar: dict[str, str], to: int, port: int):
        self.hello = f"PROXY TCP4 {source} 127.0.0.1 40000 {to}\r\n".encode()
        self.jar, self.port, self.streams = jar, port, None

    async def ask(self, kind: Told, last: bool) -> Told:
        """One request and its answer; `lost` where there is none. The connection is closed after the `last`."""
        began = time.perf_counter()
        try:
            async with asyncio.timeout(PATIENCE):
                found = await self._asked(kind)
        except TimeoutError:
            found = {"lost": "drop", "reason": f"no answer within {PATIENCE:g} s"}
        except (OSError, EOFError, ValueError) as error:
            found = {"lost": "reject", "reason": f"{type(error).__name__}: {error}"[:100]}
        if last or "lost" in found or found["headers"].get("connection") == "close":
            self._close()
        return found | {"seconds": time.perf_counter() - began}

    async def _asked(self, kind: Told) -> Told:
        again = self.streams is not None
        if not again:
            self.streams = await asyncio.open_connection("127.0.0.1", self.port, limit=LARGEST)
            self.streams[1].write(self.hello)
        headers = {"host": kind["host"]} | kind["headers"]
        if cookies := [*filter(None, [headers.get("cookie")]), *(f"{k}={v}" for k, v in self.jar.items())]:
            headers["cookie"] = "; ".join(cookies)
        if kind["method"] in ("POST", "PUT", "PATCH"):
            headers["content-length"] = "0"
        lines = [f"{kind['method']} {kind['path']} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items()), "", ""]
        self.streams[1].write("\r\n".join(lines).encode())
        try:
            return await self._answer(self.streams[0], kind["method"] == "HEAD")
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            if not again or getattr(error, "partial", b""):
                raise
            self._close()  # it was closed while nobody asked: once more on a new one, as clients do
            return await self._asked(kind)

    async def _answer(self, reader: asyncio.StreamReader, head: bool) -> Told:
        first, pairs = head_of(await reader.readuntil(b"\r\n\r\n"))
        status, headers, body = int(first.split()[1]), dict(pairs), b""
        for name, value in pairs:
            if name == "set-cookie":
                self.jar.update([value.partition(";")[0].split("=", 1)])
        if head or status in (204, 304):
            pass
        elif headers.get("transfer-encoding", "").lower() == "chunked":
            while size := int((await reader.readline()).partition(b";")[0], 16):
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readline()
        elif "content-length" in headers:
            body = await reader.readexactly(int(headers["content-length"]))
        else:
            body, headers["connection"] = await reader.read(LARGEST), "close"
        pod = headers.get("x-pod", "")
        seen = json.loads(body) if pod and body else {"path": "", "headers": {}, "source": ""}
        source = seen["headers"].get("x-forwarded-for", "").partition(",")[0] or seen["source"]
        brief = {"received": seen["path"], "source": source, "location": headers.get("location", "")}
        return {"status": status, "headers": headers, "pod": pod, "seen": seen} | brief

    def _close(self) -> None:
        if self.streams:
            self.streams[1].close()
        self.streams = None


def fetch(
    kinds: list[Told], ways: list, requests: list, at_once: int, port: int, within: float, brief: bool, apart: float = 0
) -> list:
    """The answers to `requests`, [index of a kind, index of a way] each, `at_once` under way at any time.

    `kinds`: method, host, path, headers. `ways` are connections: [client's address, whose cookies, to which port].
    `brief`: without all that the pod has seen. `apart`: the seconds between the first `at_once`."""
    jars: dict[Any, dict[str, str]] = {}
    clients = [Client(source, jars.setdefault(user, {}), to, port) for source, user, to in ways]
    todo: dict[int, deque[int]] = {}
    for i, (_, way) in enumerate(requests):
        todo.setdefault(way, deque()).append(i)
    ready = [queue.popleft() for queue in todo.values()]  # the next request of each connection that is free: a heap
    answers: list[Any] = [None] * len(requests)

    async def asks(after: float) -> None:
        await asyncio.sleep(after)
        while ready:
            kind, way = requests[i := heappop(ready)]
            found = await clients[way].ask(kinds[kind], not todo[way])
            answers[i] = {k: v for k, v in found.items() if not brief or k not in ("headers", "seen")}
            if todo[way]:
                heappush(ready, todo[way].popleft())

    async def each() -> None:
        await asyncio.gather(*(asks(k * apart) for k in range(at_once)))

    _run(each(), within)
    for proxy in STARTED:
        if proxy.poll() is not None:
            raise RealError(f"{Path(proxy.args[0]).name} ended with {proxy.returncode} while it was asked")
    return answers


if __name__ == "__main__":
    with suppress(ValueError, OSError):
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 65_536), most))
    threading.Thread(target=LOOP.run_forever, daemon=True).start()
    serve({"stand": stand, "opened": opened, "start": start, "fetch": fetch}, AT_END)
