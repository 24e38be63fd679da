"""CPU seconds against the project's budgets, beside what merely reading the same text costs: `make bench`.

Every number is the median of three fresh processes. Nothing here passes or fails: machines differ, budgets are a guide.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

SERVICES, ENDPOINTS = 10_000, 10
MANY = """
import k8slb
shop = k8slb.load("shop")
begin()
assert shop.send("http://order-service", requests=1_000_000).lost == 0
"""
READ_YAML = """
import yaml
text = open({yaml!r}).read()
begin()
list(yaml.load_all(text, yaml.CSafeLoader))
"""
DECIDE = """
import json, k8slb
cluster = k8slb.load({path!r})
cluster.trace("http://s1.default")
begin(100)
for i in range(2, 102):
    cluster.trace(f"http://s{{i % 9 + 1}}.default", seed=i)
"""
# (what, code, budget in seconds); {yaml} and {json} are the large files, begin() starts the clock anew
CASES = [
    ("import k8slb", "import k8slb", None),
    ("import, load the shop, one trace", "import k8slb; str(k8slb.load('shop').trace('http://order-service'))", 0.4),
    ("1,000,000 connections", MANY, 0.5),
    ("10,000 Services x 10 endpoints, YAML", "import k8slb; begin(); k8slb.load({yaml!r})", 20),
    ("   yaml.CSafeLoader on that text", READ_YAML, None),
    ("10,000 Services x 10 endpoints, JSON", "import k8slb; begin(); k8slb.load({json!r})", 5),
    ("   json.loads on that text", "import json; t = open({json!r}).read(); begin(); json.loads(t)", None),
    ("a trace among 10 Services", DECIDE.replace("{path!r}", "{few!r}"), None),
    ("a trace among 10,000 Services", DECIDE.replace("{path!r}", "{json!r}"), None),
]
CLOCK = """
import time
started, rounds = 0.0, 1  # a process begins at 0
def begin(n=1):
    global started, rounds
    started, rounds = time.process_time(), n
"""


def objects(services):
    """Services with an EndpointSlice each, as `kubectl get -o yaml` prints them."""
    for i in range(1, services + 1):
        meta = {"name": f"s{i}", "namespace": "default", "labels": {"app": f"s{i}"}}
        ports = [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}]
        ip = f"10.{96 + i // 65536}.{i // 256 % 256}.{i % 256}"
        spec = {"clusterIP": ip, "ports": ports, "selector": {"app": f"s{i}"}, "type": "ClusterIP"}
        yield {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}
        endpoints = [
            {
                "addresses": [f"10.{i // 250}.{i % 250}.{k + 1}"],
                "conditions": {"ready": True, "serving": True, "terminating": False},
                "nodeName": f"node-{'abc'[k % 3]}",
                "zone": f"zone-{'abc'[k % 3]}",
            }
            for k in range(ENDPOINTS)
        ]
        yield {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": f"s{i}-1", "namespace": "default", "labels": {"kubernetes.io/service-name": f"s{i}"}},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": endpoints,
        }


def write(folder: Path) -> dict[str, str]:
    import yaml

    for name, count in (("few", 10), ("json", SERVICES)):
        found = {"apiVersion": "v1", "kind": "List", "items": list(objects(count))}
        (folder / f"{name}.json").write_text(json.dumps(found, indent=1))
    with (folder / "many.yaml").open("w") as file:
        yaml.dump_all(objects(SERVICES), file, Dumper=yaml.CSafeDumper, sort_keys=False)
    return {"few": f"{folder}/few.json", "json": f"{folder}/json.json", "yaml": f"{folder}/many.yaml"}


def seconds(code: str, files: dict[str, str]) -> float:
    code = CLOCK + code.format(**files) + "\nprint((time.process_time() - started) / rounds)"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(3)]
    return statistics.median(float(run.stdout) for run in runs)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = write(Path(folder))
        size = {name: Path(path).stat().st_size / 1e6 for name, path in files.items()}
        print(f"{SERVICES:,} Services: {size['yaml']:.0f} MB of YAML, {size['json']:.0f} MB of JSON\n")
        print(f"{'CPU seconds, median of 3':<40} {'here':>9} {'budget':>7}")
        before = 0.0
        for what, code, budget in CASES:
            took = seconds(code, files)
            ratio = f"k8slb takes {before / took:.1f} times this" if what.startswith(" ") else ""
            ratio = f"{took / before:.2f} times as long" if "among 10,000" in what else ratio
            print(f"{what:<40} {took:>9.4f} {budget or '':>7}  {ratio}", flush=True)
            before = took


if __name__ == "__main__":
    main()
