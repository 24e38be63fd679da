"""As much of a Kubernetes API as a controller reads: list and watch of given objects, on loopback only.

The objects come by the paths of their lists, {"apis/networking.k8s.io/v1/ingresses": ("Ingress", [object, ...]), ...}.
Nothing can be written: the status of an object that a controller sends is given back and forgotten.
"""

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

Given = Mapping[str, tuple[str, Sequence[dict]]]
VERSION = {"major": "1", "minor": "36", "gitVersion": "v1.36.0"}
BORN = "2026-01-01T00:00:00Z"
LONGEST = 1 << 20  # bytes of a status


class Store:
    """Objects, and each change to them, numbered from 1: its number is the object's resourceVersion."""

    def __init__(self, given: Given):
        self.given, self.kinds, self.objects = {}, {}, {}  # objects by the list's path, namespace and name
        self.events: list[tuple[str, str, dict]] = []  # the list's path, what became of the object, the object
        self.changed, self.closed = threading.Condition(), False
        self.become(given)

    def become(self, given: Given) -> None:
        """From now on there are these objects; whoever watches is told what was added, modified or deleted."""
        now = {(path, *_named(one)): one for path, (_, objects) in given.items() for one in objects}
        with self.changed:
            self.kinds = {path: kind for path, (kind, _) in given.items()}
            for key in dict.fromkeys([*self.given, *now]):
                old, new = self.given.get(key), now.get(key)
                if old != new:
                    meta = {"uid": "-".join(key), "generation": 1, "creationTimestamp": BORN} | (new or old)["metadata"]
                    one = (new or old) | {"metadata": meta | {"resourceVersion": str(len(self.events) + 1)}}
                    one |= {"apiVersion": version_of(key[0]), "kind": self.kinds[key[0]]}
                    self.events.append((key[0], "ADDED" if not old else "MODIFIED" if new else "DELETED", one))
                    self.objects[key] = one if new else None
            self.given = now
            self.changed.notify_all()

    def close(self) -> None:
        with self.changed:
            self.closed = True
            self.changed.notify_all()


def version_of(path: str) -> str:
    """The group and version of a list's path."""
    return path.rpartition("/")[0].partition("/")[2]


def _named(one: dict) -> tuple[str, str]:
    return one["metadata"].get("namespace", ""), one["metadata"]["name"]


class Api(BaseHTTPRequestHandler):
    """One connection of a controller."""

    protocol_version = "HTTP/1.1"

    def __init__(self, store: Store, *given: Any):
        self.store = store
        super().__init__(*given)

    def do_GET(self) -> None:
        """The version; a list, of one namespace or all; or what becomes of its objects."""
        path, _, query = self.path.strip("/").partition("?")
        before, within, after = path.partition("/namespaces/")
        namespace, _, plural = after.partition("/")
        path = f"{before}/{plural}" if within and plural else path
        asked, store = parse_qs(query), self.store
        if path == "version":
            self._answer(200, VERSION)
        elif path not in store.kinds:
            self._refused(404, "NotFound")
        elif "sendInitialEvents" in asked:  # who is refused this lists, and watches from there
            self._refused(422, "Invalid")
        elif "watch" in asked:
            self._watched(path, namespace, int(asked["resourceVersion"][0]))
        else:
            with store.changed:
                number, known = len(store.events), [(k, o) for k, o in store.objects.items() if o]
            found = [o for key, o in known if key[0] == path and namespace in ("", key[1])]
            told = {"kind": f"{store.kinds[path]}List", "apiVersion": version_of(path)}
            self._answer(200, told | {"metadata": {"resourceVersion": str(number)}, "items": found})

    def do_PUT(self) -> None:
        length = int(self.headers.get("Content-Length") or LONGEST + 1)
        if self.path.endswith("/status") and length <= LONGEST:
            self._answer(200, json.loads(self.rfile.read(length)))
        else:
            self.close_connection = True
            self._refused(405, "MethodNotAllowed")

    do_PATCH = do_POST = do_DELETE = do_PUT

    def _watched(self, path: str, namespace: str, number: int) -> None:
        """Every change after that number, as it comes."""
        self._head(200, "Transfer-Encoding", "chunked")
        self.close_connection, store = True, self.store
        while not store.closed:
            with store.changed:
                while len(store.events) == number and not store.closed:
                    store.changed.wait()
                new, number = store.events[number:], len(store.events)
            for place, what, one in new:
                if place == path and namespace in ("", _named(one)[0]):
                    line = json.dumps({"type": what, "object": one}).encode() + b"\n"
                    self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")

    def _head(self, code: int, name: str, value: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header(name, value)
        self.end_headers()

    def _answer(self, code: int, said: Any) -> None:
        body = json.dumps(said).encode()
        self._head(code, "Content-Length", str(len(body)))
        self.wfile.write(body)

    def _refused(self, code: int, reason: str) -> None:
        said = {"kind": "Status", "apiVersion": "v1", "status": "Failure"}
        self._answer(code, said | {"reason": reason, "code": code, "message": f"{self.command} {self.path}"})

    def log_message(self, *_: Any) -> None:
        """Nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads, block_on_close = True, False

    def handle_error(self, *_: Any) -> None:
        """A controller that hangs up is no error."""


@contextmanager
def serving(port: int, given: Given) -> Iterator[Store]:
    """An API on 127.0.0.1:`port` with these objects; the Store lets them change."""
    store = Store(given)
    with _Server(("127.0.0.1", port), partial(Api, store)) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield store
        finally:
            store.close()
            server.shutdown()
