"""Network namespaces of its own for nodes, pods and clients, and real connections between them: netfilter.py's child.

They have no names. File descriptors of this one process hold them, so however it ends nothing is left: no namespace,
no rule, no file; and nothing is changed outside of them. Packets take the way they have on real machines:

- a pod has a veth to its node and its node's address as gateway; a node routes, and knows its pods one by one;
- nodes meet in the space "fabric", which knows every pod's node and drops what has no address. The clients outside and
  endpoints on no node live there, so that who asks from outside comes in by a node's interface;
- client pods that the model adds share one space a node, however many their addresses: local routes there, and a
  route by one neighbour elsewhere (thousands of neighbours would overflow the machine's table).

Spaces are called "fabric", "node/NAME", "pod/IP" and "clients/NODE". Standard library only; no thread but serve's.
"""

import ctypes
import errno
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
from collections import defaultdict
from contextlib import ExitStack, suppress
from functools import partial
from select import EPOLLIN, epoll
from time import monotonic

from ..errors import NotHere
from .supervised import RealError, serve

NEWNET = 0x40000000
GATEWAY, CLIENTS = "169.254.0.1", "169.254.0.2"  # the fabric's address, and of a node's added clients
WITHIN = 0.3  # seconds for an answer
AHEAD, STALLED = 60, 0.005  # requests under way at most, while one has had no answer for so many seconds
GIVE_UP = 200  # drops in a row, then the rest is not sent
NO_WAIT = b"\1" + bytes(7)  # struct linger: close at once, so that no port stays in TIME_WAIT
REFUSED = {errno.ECONNREFUSED, errno.ECONNRESET, errno.EPIPE}
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
NOWHERE, HERE = "blackhole {}", "local {} dev lo"  # routes
OUTSIDE = " table 7"  # of the fabric: the way of what clients outside send
FABRIC = (f"addr add {GATEWAY}/32 dev lo", "route add blackhole default", "rule add iif lo" + OUTSIDE)
ORDER = ("fabric", "node", "pod", "clients")  # in which `ip` runs: the nearer end makes a link
# A refusal is an ICMP error, which Linux rations: here each refused client hears of it.
SETTINGS = {"conf/all/rp_filter": 0, "conf/default/rp_filter": 0, "icmp_ratemask": 0}
_libc = ctypes.CDLL(None, use_errno=True)


def _call(what: str, *args: int) -> None:
    if getattr(_libc, what)(*args):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class Namespaces:
    """The world, and what is open in it."""

    def __init__(self):
        self.spaces: dict[str, int] = {}  # name -> file descriptor
        self.todo = defaultdict[str, list[str]](list)  # space -> lines for `ip -batch`
        self.links: dict[str, str] = {}  # space -> the interface that leads to it
        self.address: dict[str, str] = {}  # node -> its first address
        self.clients: dict[str, str] = {}  # added address -> its space
        self.listening: dict[tuple, socket.socket] = {}
        self.open = defaultdict[str, dict[int, socket.socket]](dict)  # name of a set -> its connections
        self.epoll, self.heard = epoll(), {}  # file descriptor -> what to do when there is something to read
        self.once = True  # who accepts closes as well
        self.lock = f"/proc/{os.getpid()}/fd/{os.memfd_create('xtables')}"  # instead of /run/xtables.lock
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    # --- spaces ---

    def enter(self, name: str) -> None:
        _call("setns", self.spaces[name], NEWNET)

    def run(self, name: str, *command: str, text: str = "") -> str:
        """What a command prints that runs in a space. RealError has its own words where it fails."""
        self.enter(name)
        program = shutil.which(command[0], path=PATH)
        if not program:
            raise NotHere(f"{command[0]}, which is not installed")
        env = {**os.environ, "XTABLES_LOCKFILE": self.lock}
        done = subprocess.run([program, *command[1:]], input=text, env=env, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise RealError(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()[-2000:]}")
        return done.stdout

    def _space(self, name: str, settings: dict[str, int]) -> None:
        """A new one; `settings`: of /proc/sys/net/ipv4."""
        _call("unshare", NEWNET)
        self.spaces[name] = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        for key, value in (SETTINGS | settings).items():
            with open(f"/proc/sys/net/ipv4/{key}", "w") as out:
                out.write(str(value))
        self.todo[name].append("link set lo up")

    def _behind(self, near: str, far: str, addresses: list[str], gateway: str, settings: dict[str, int]) -> None:
        """A new space, linked to one that is there."""
        self._space(far, settings)
        self.links[far] = link = f"v{len(self.links)}"
        there = f"/proc/{os.getpid()}/fd/{self.spaces[far]}"
        self.todo[near] += [f"link add {link} type veth peer name eth0 netns {there}", f"link set {link} up"]
        self.todo[far] += ["link set eth0 up", *(f"addr add {a}/32 dev eth0" for a in addresses)]
        self.todo[far].append(f"route add default via {gateway} dev eth0 onlink src {addresses[0]}")

    def _way(self, space: str, address: str, how: str) -> None:
        self.todo[space].append("route replace " + how.format(f"{address}/32"))

    def _by(self, node: str) -> str:
        return f"{{}} via {self.address[node]} dev {self.links[f'node/{node}']} onlink"

    def _ip(self) -> None:
        for name in sorted(self.todo, key=lambda n: ORDER.index(n.partition("/")[0])):
            self.run(name, "ip", "-batch", "-", text="\n".join(self.todo[name]) + "\n")
        self.todo.clear()

    def world(self, nodes: dict, pods: dict, silent: list, settings: dict, listen: list) -> None:
        """Make what is not there yet. `nodes`: name -> addresses; `pods`: address -> node ("": outside); `silent`:
        addresses that nothing comes to; `settings`: of nodes; `listen`: (space, address, port, protocol) of all that
        answers. Who is not named any more stays as it is."""
        if not self.spaces:
            self._space("fabric", {"ip_forward": 1})
            self.todo["fabric"] += FABRIC
        for name, addresses in nodes.items():
            at, clients, self.address[name] = f"node/{name}", f"clients/{name}", addresses[0]
            if at not in self.spaces:
                self._behind("fabric", at, addresses, GATEWAY, {"ip_forward": 1} | settings)
                self._behind(at, clients, [CLIENTS], addresses[0], {})
                self._way(at, CLIENTS, f"{{}} dev {self.links[clients]} src {addresses[0]}")
            for a in addresses:
                self._way("fabric", a, NOWHERE if a in silent else f"{{}} dev {self.links[at]}")
        for address, node in pods.items():
            far = f"pod/{address}"
            if node and far not in self.spaces:
                self._behind(f"node/{node}", far, [address], self.address[node], {})
            self._way("fabric", address, self._by(node) if node else HERE)
            if node:
                here = f"{{}} dev {self.links[far]} src {self.address[node]}"
                self._way(f"node/{node}", address, NOWHERE if address in silent else here)
        self._ip()
        for key in [k for k in self.listening if list(k) not in listen and k[1] in pods]:
            self._forget(self.listening.pop(key))
        for at in listen:
            self._listen(*at)

    def load(self, node: str, program: list, text: str) -> str:
        """Give a node its rules. What was left out of them: counters, where there is no nfacct."""
        counters = re.findall(r"--nfacct-name +(\S+)", text)
        try:
            for name in sorted(set(counters)):
                with suppress(RealError):  # it is there already
                    self.run(f"node/{node}", "nfacct", "add", name)
            self.run(f"node/{node}", *program, text=text)
        except (RealError, NotHere):
            if not counters:
                raise
            self.run(f"node/{node}", *program, text=re.sub(r"-m nfacct --nfacct-name +\S+ ", "", text))
            return "without its nfacct matches"
        return ""

    def forget(self, node: str, addresses: list) -> None:
        """Delete the UDP flows to endpoints, as kube-proxy does after it took them out of the rules."""
        for address in addresses:
            with suppress(RealError):  # it had none
                self.run(f"node/{node}", "conntrack", "-D", "-p", "udp", "--reply-src", address)

    def versions(self, node: str, program: list) -> str:
        return f"Linux {os.uname().release}, {self.run(f'node/{node}', program[0], '--version').strip()}"

    # --- connections ---

    def _listen(self, space: str, address: str, port: int, protocol: str) -> None:
        if (space, address, port, protocol) in self.listening:
            return
        sock = self._socket(space, protocol)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        if protocol == "TCP":
            sock.listen(512)
        self.listening[space, address, port, protocol] = sock
        self._on(sock, self._accept if protocol == "TCP" else self._echo, f"{address}:{port}")

    def _socket(self, space: str, protocol: str) -> socket.socket:
        self.enter(space)
        kind = socket.SOCK_STREAM if protocol == "TCP" else socket.SOCK_DGRAM
        return socket.socket(type=kind | socket.SOCK_NONBLOCK)

    def _on(self, sock: socket.socket, do, *given) -> None:
        """What to do when there is something to read."""
        if sock.fileno() not in self.heard:
            self.epoll.register(sock, EPOLLIN)
        self.heard[sock.fileno()] = partial(do, *given, sock)

    def _forget(self, sock: socket.socket) -> None:
        if self.heard.pop(sock.fileno(), None):
            self.epoll.unregister(sock)
        sock.close()

    def _accept(self, who: str, listener: socket.socket) -> None:
        with suppress(OSError):  # gone before it was accepted
            sock, (source, _) = listener.accept()
            sock.send(answer := f"{who} {source}".encode())
            if self.once:
                sock.close()
            else:
                self._on(sock, self._serve, answer)

    def _serve(self, answer: bytes, sock: socket.socket) -> None:
        with suppress(OSError):
            if sock.recv(16):
                sock.send(answer)
                return
        self._forget(sock)

    def _echo(self, who: str, sock: socket.socket) -> None:
        with suppress(OSError):
            _, peer = sock.recvfrom(16)
            sock.sendto(f"{who} {peer[0]}".encode(), peer)

    def send(self, protocol: str, clients: list, ways: list, requests: list, kept: str | None, routes: dict) -> list:
        """Requests one after the other; of each "POD SOURCE", "reject", "drop" or "" where it was not sent.

        `clients`: (space, address, "" for the space's own); `ways`: of each connection (client, destination, port);
        `requests`: the connection of each. `kept`: None closes each connection at once, a text keeps them open (between
        calls too, unless it is ""). `routes`: address -> the node that the fabric puts it on."""
        self._arrive(clients, routes)
        own, answers, waiting = self.open[kept or ""], [""] * len(requests), {}
        self.once, missed = kept is None, 0

        def over(c: int, answer: str) -> None:
            nonlocal missed
            if c in waiting:
                answers[waiting.pop(c)[0]] = answer
                missed = missed + 1 if answer == "drop" else 0
            if kept is None or (protocol == "TCP" and answer in ("drop", "reject")):  # then a new one takes its place
                self._forget(own.pop(c))

        def failed(c: int, error: OSError) -> None:  # SO_ERROR has an ICMP error that came while the socket was in use
            codes = {error.errno, own[c].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)} - {0, errno.EAGAIN}
            if codes:
                over(c, "reject" if codes & REFUSED else "drop")

        def read(c: int, sock: socket.socket) -> None:
            try:
                over(c, sock.recv(64).decode() or "reject")
            except OSError as error:
                failed(c, error)

        def ask(c: int) -> None:
            if c not in own:
                (space, address), *to = clients[ways[c][0]], *ways[c][1:]
                own[c] = sock = self._socket(space, protocol)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_WAIT)
                sock.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT: it is picked on connecting
                self._on(sock, read, c)
                if address:
                    sock.bind((address, 0))
                if (code := sock.connect_ex(tuple(to))) not in (0, errno.EINPROGRESS):
                    raise OSError(code, os.strerror(code))
                if protocol == "TCP":
                    return  # who accepts speaks first
            own[c].send(b"?")

        def turn(until: float) -> None:
            for fd, _ in self.epoll.poll(max(0.0, until - monotonic())):
                if fd in self.heard:  # not closed meanwhile
                    self.heard[fd]()
            now = monotonic()
            for c in [c for c, (_, since) in waiting.items() if now - since > WITHIN]:
                over(c, "drop")

        for c, sock in own.items():
            self._on(sock, read, c)
        for i, c in enumerate(requests):
            while c in waiting or len(waiting) >= AHEAD:
                turn(monotonic() + 0.01)
            if missed >= GIVE_UP:
                break
            waiting[c] = i, (began := monotonic())
            try:
                ask(c)
            except OSError as error:
                failed(c, error)
            while c in waiting and monotonic() < began + STALLED:
                turn(began + STALLED)
        while waiting:
            turn(monotonic() + 0.05)
        for sock in () if kept else self.open.pop("").values():
            self._forget(sock)
        return answers

    def _arrive(self, clients: list, routes: dict) -> None:
        """Put clients that are new, or asked from elsewhere before, where they are."""
        for space, address in clients:
            if address and self.clients.get(address) != space:
                before, self.clients[address] = self.clients.get(address, ""), space
                if before:
                    self.todo[before].append(f"route del local {address}/32 dev lo")
                if was := before.partition("/")[2]:
                    self.todo[f"node/{was}"].append(f"route del {address}/32")
                self._way(space, address, HERE)
                if node := space.partition("/")[2]:
                    self._way("fabric", address, self._by(node))
                    self._way(f"node/{node}", address, f"{{}} via {CLIENTS} dev {self.links[space]} onlink")
        for address, node in routes.items():
            self._way("fabric", address, self._by(node) + OUTSIDE)
        self._ip()


if __name__ == "__main__":
    if os.geteuid():  # begin anew as root of a user namespace
        os.execvp("unshare", ["unshare", "--user", "--map-root-user", *sys.orig_argv])
    own = Namespaces()
    serve({f.__name__: f for f in (own.world, own.load, own.forget, own.versions, own.send)}, ExitStack())
