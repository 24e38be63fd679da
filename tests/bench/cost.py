"""data/recordings/kube-proxy-cost.json: what the rules of many Services cost a new connection, and how long they load.

`python -m k8slb.real record kube-proxy-cost` runs it, for some minutes, which should be quiet ones: k8slb's rules
for N Services of the same two pods, in a node's network namespace of a real kernel. As a module it is netfilter's child
(k8slb/real/namespaces.py) that takes the time.
"""

import datetime
import os
import re
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from time import perf_counter

import k8slb
from k8slb.manifests import DATA
from k8slb.real.cases import MODES
from k8slb.real.namespaces import PATH, Namespaces
from k8slb.real.record import written
from k8slb.real.supervised import Supervised, serve

RESTORE = "restore -w --noflush --counters"  # as kube-proxy has it: without --noflush iptables-nft is much quicker
PROGRAMS = {
    "iptables-legacy": f"iptables-legacy-{RESTORE}",
    "iptables-nft": f"iptables-{RESTORE}",
    "nftables": "nft -f -",
}
SIZES = (10, 100, 1000, 5000, 10_000)
CONNECTIONS, WARM = 1800, 50
NODE, CLIENT, PODS, PORT = "172.18.0.2", "10.0.0.4", ("10.0.0.5", "10.0.0.6"), 8080
BARE = ("10.0.1.4", "10.0.1.5")  # a client and a pod of a node without rules, asked in the same breath
CLUSTER = """
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clusterCIDR: 10.0.0.0/16
---
apiVersion: v1
kind: Node
metadata: {name: node-a}
status: {addresses: [{type: InternalIP, address: 172.18.0.2}]}
"""
POD = """
apiVersion: v1
kind: Pod
metadata: {name: NAME, labels: {app: a}}
spec: {nodeName: node-a, containers: [{name: a, image: a, ports: [{containerPort: 8080}]}]}
status: {podIP: ADDRESS}
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: NAME}
spec: {selector: {app: a}, clusterIP: ADDRESS, ports: [{port: 80, targetPort: 8080}]}
"""
ABOUT = {
    "what": "a new TCP connection through the rules of so many Services: its median time, as a multiple of that "
    "through a node without rules; the seconds it took to load all rules, and to change one Service",
    "where": "network namespaces on one machine",
    "command": "python -m k8slb.real record kube-proxy-cost",
    "how": "k8slb's own rules for Services of the same two pods; connect() in turn to the first, the middle and the "
    "last Service and to an address that is none (other), so often each as connections says",
    "names": "how/number of Services",
}


def addresses(number: int) -> list[str]:
    return [f"10.96.{1 + i // 250}.{1 + i % 250}" for i in range(number)]


def rules(mode: str, number: int) -> str:
    """What the node holds, without the counters of dropped packets."""
    texts = [POD.replace("NAME", f"a-{i}").replace("ADDRESS", ip) for i, ip in enumerate(PODS)]
    texts += [SERVICE.replace("NAME", f"s{i}").replace("ADDRESS", ip) for i, ip in enumerate(addresses(number))]
    text = str(k8slb.load("---".join([CLUSTER, *texts])).rules("node-a", mode))
    return re.sub(r"-m nfacct --nfacct-name +\S+ ", "", text)


def one_service(text: str, number: int) -> str:
    """What kube-proxy writes when the endpoints of the last Service change: its own chains anew."""
    if not text.startswith("*"):
        name, body = re.search(
            rf"\tchain (service-\S+-default/s{number - 1}/tcp/) {{\n(.*?)\t}}", text, re.DOTALL
        ).groups()
        return f"flush chain ip kube-proxy {name}\ntable ip kube-proxy {{\n\tchain {name} {{\n{body}\t}}\n}}\n"
    mine = [line for line in text.splitlines() if re.match(rf'-A KUBE-S(VC|EP)-.*"default/s{number - 1}[ "]', line)]
    chains = dict.fromkeys(line.split()[1] for line in mine)
    return "\n".join(["*nat", *(f":{chain} - [0:0]" for chain in chains), *mine, "COMMIT\n"])


def measured(how: str, number: int) -> dict:
    """One run in namespaces of its own."""
    program = PROGRAMS[how].split()
    text, vips = rules(MODES[how], number), addresses(number)
    to = {"first": vips[0], "middle": vips[number // 2], "last": vips[-1]}
    pods = {ip: "node-a" for ip in (CLIENT, *PODS)} | dict.fromkeys(BARE, "node-b")
    with Supervised("bench.cost") as child:
        listen = [(f"pod/{ip}", ip, PORT, "TCP") for ip in (*PODS, BARE[1])]
        nodes, settings = {"node-a": [NODE], "node-b": ["172.18.0.3"]}, {"ip_forward": 1}
        child.ask("world", nodes=nodes, pods=pods, silent=[], settings=settings, listen=listen)
        loaded = child.ask("loaded", 900, program=program, text=text)
        ways = [[*BARE, PORT], *([CLIENT, address, 80] for address in to.values()), [CLIENT, PODS[0], PORT]]
        plain, *times = child.ask("timed", 300, ways=ways)
        versions = child.ask("versions", node="node-a", program=program)
        changed = min(child.ask("loaded", 300, program=program, text=one_service(text, number)) for _ in range(3))
    return {
        "times_longer": {name: round(t / plain, 3) for name, t in zip([*to, "other"], times, strict=True)},
        "program_seconds": round(loaded, 3),
        "update_one_seconds": round(changed, 4),
        "connections": CONNECTIONS,
        "versions": versions,
        "rules": sum(line.startswith(("-A", "\t\t")) for line in text.splitlines()),
    }


def write() -> Path:
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])
    runs = {}
    for how in MODES:
        for number in SIZES:
            runs[f"{how}/{number}"] = measured(how, number)
            print(f"{how}/{number}: {runs[f'{how}/{number}']}", flush=True)
    versions = dict.fromkeys(part for run in runs.values() for part in run["versions"].split(", "))
    about = ABOUT | {"versions": ", ".join(versions)}
    about |= {
        "date": f"{datetime.date.today()}",
        "where": f"{ABOUT['where']}, {os.uname().machine}, {os.cpu_count()} cores",
    }
    path = DATA / "recordings/kube-proxy-cost.json"
    path.write_text(written(about, runs), encoding="utf-8")
    return path


class Timed(Namespaces):
    """The child."""

    def timed(self, ways: list) -> list[float]:
        """The median seconds of connect() by each way (client's pod, address, port), in turn."""
        took = [[] for _ in ways]
        for i in range(WARM + CONNECTIONS):
            for seconds, (client, address, port) in zip(took, ways, strict=True):
                sock = self._socket(f"pod/{client}", "TCP")
                sock.setblocking(True)
                begin = perf_counter()
                sock.connect((address, port))
                end = perf_counter()
                seconds += [end - begin] if i >= WARM else []
                for fd, _ in self.epoll.poll(0):  # who accepts
                    self.heard[fd]()
                sock.close()
        return [median(seconds) for seconds in took]

    def loaded(self, program: list, text: str) -> float:
        """The seconds that a program takes to load rules."""
        self.enter("node/node-a")
        env = {**os.environ, "XTABLES_LOCKFILE": self.lock}
        command = [shutil.which(program[0], path=PATH), *program[1:]]
        begin = perf_counter()
        done = subprocess.run(command, input=text, env=env, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr[-1000:])
        return perf_counter() - begin


if __name__ == "__main__":
    own = Timed()
    serve({f.__name__: f for f in (own.world, own.timed, own.loaded, own.versions)}, ExitStack())
