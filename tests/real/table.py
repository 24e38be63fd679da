"""MODEL_AND_REAL.md: the model and the real thing side by side, worked out anew from what was recorded.

`python -m k8slb.real table` writes it; tests/real/test_recordings.py says that it is what the recordings give.
"""

from collections.abc import Iterator
from pathlib import Path

from real.agreement import against
from truth import test_balancers, test_ipvs, test_kube_proxy

from k8slb.chance import chi_square_p
from k8slb.real.cases import cases, drawn
from k8slb.real.recordings import recording

SEQUENCES = ("exact", "rotation", "some start")
FILE = Path(__file__).with_name("MODEL_AND_REAL.md")
HEAD = """# The model and the real thing

The same questions, put to the model and to real components. Counts: what the model expects exactly / what was counted,
by pod in order of address, then other answers. p: the probability that chance alone makes so great a difference. Order:
how many picks came in the model's order, where it leaves none to chance. `python -m k8slb.real record all` asks again
(all but IPVS and what stands in tests/truth), `python -m k8slb.real table` writes this page.

| layer | put to | why not |
|---|---|---|
| DNS | nothing | a resolver of its own would have to be configured by the model, and would answer what it is told |
| cloud load balancer | nothing | they run in their clouds alone; what their makers say is in data/load-balancers.json |
| kube-proxy, iptables and nftables | k8slb's own rules text, loaded into a real kernel | |
| kube-proxy itself | its 132 recorded runs, below | its binary is in no package registry |
| kube-proxy, IPVS | the schedulers of a recorded kernel | needs a kernel with ip_vs of its own |
| Ingress | nginx, HAProxy, Envoy, Traefik, Caddy | ingress-nginx's Lua code is in no package registry |
| Gateway, mesh (Istio's sidecar) | Envoy | Linkerd's and ztunnel's binaries are in no package registry |
"""
TRUTH = """## What only recordings have

kube-proxy 1.36.2 itself, iptables and nftables (tests/truth/kube_proxy.json): {runs} runs, {connections:,} connections;
all went where the model's shares are and came from the model's sources; the least p is {worst:.2g}.

Pick for pick (data/recordings/ipvs.json: {versions}, {date}; tests/truth/balancers.json):

| balancer | put to | runs | picks that are the model's |
|---|---|--:|--:|
{rows}
"""


def text() -> str:
    titles = {"netfilter": "kube-proxy's rules in the kernel", "proxies": "Ingress and Gateway", "mesh": "A sidecar"}
    parts = [HEAD]
    for kind, title in titles.items():
        rows = [row for name in cases() if name.startswith(f"{kind}/") for row in _rows(name)]
        about = recording(next(name for name in cases() if name.startswith(f"{kind}/"))).about
        head = "| asked | case | requests | model / real | p | order | date |\n|---|---|--:|---|--:|--:|---|"
        parts.append(f"## {title}\n\n{about['versions']}. {about['where']}.\n\n{head}\n" + "\n".join(rows) + "\n")
    return "\n".join([*parts, _truth()])


def _rows(name: str) -> Iterator[str]:
    _, by, case = name.split("/")
    one = recording(name)
    found, asked = against(one.case, one.facts), cases()[name]
    requests = one.facts.get("requests", asked.given.get("send", {}).get("streams"))
    if "counts" not in one.facts:
        model = asked.modelled()
        alone = {step.get("kernel_alone") for step in asked.given.get("steps", ())}
        said = {k: "kube-proxy deletes the flow" if k in alone else _short(model[k]) for k in model if k != "requests"}
        told = [f"{k.replace('_', ' ')}: {said[k]} / {_short(one.facts[k])}" for k in said]
        if urls := asked.given.get("urls"):
            told = [f"{sum(one.facts[url] == model[url] for url in urls)} of {len(urls)} URLs are answered alike"]
        steps = asked.given.get("steps", ())
        requests = requests or len(asked.given.get("urls", ()))
        requests = requests or sum(step["send"]["requests"] for step in steps if "send" in step)
    else:
        real, exact = drawn(one.facts), asked.exact if not asked.given.get("users") else None
        if exact is None or "refused_by" in asked.question.run.columns:
            model = drawn(asked.modelled())
        else:
            model = {end: round(share * sum(real.values()), 1) for end, share in exact.items()}
        ends = sorted({*model, *(end for end, n in real.items() if n)}, key=lambda end: (":" not in end, len(end), end))
        others = [end for end in ends if ":" not in end or " " in end]
        told = [f"{_many(model, ends)} / {_many(real, ends)}" + (f" ({', '.join(others)} last)" if others else "")]
    p = "" if found["p"] is None or len(asked.exact) == 1 else f"{found['p']:.2g}"
    order = "" if found["same"] is None else f"{found['same']} of {len(one.facts['picks'])}"
    told += [asked.given["apart"]] if "apart" in asked.given else []
    wrong = "".join(f"; **{what}**" for what in found["differs"])
    kept = one.facts.get("connections", requests)
    many = f"{requests:,}" + (f" on {kept:,}" if kept < requests else "")
    yield f"| {by} | {case} | {many} | {'; '.join(told)}{wrong} | {p} | {order} | {one.date} |"


def _many(counts: dict, ends: list[str]) -> str:
    return " ".join(f"{counts.get(end, 0):g}" for end in ends)


def _short(value: object) -> str:
    value = value.values() if isinstance(value, dict) else value
    return str(value) if isinstance(value, (int, str)) else " ".join(map(str, value))


def _truth() -> str:
    """What only a recording has: IPVS, kube-proxy itself, and the proxies' picks, pick for pick."""
    rows = []
    for scheduler in dict.fromkeys(run["scheduler"] for run in test_ipvs.RUNS.values()):
        mine = [run for run in test_ipvs.RUNS.values() if run["scheduler"] == scheduler]
        real, model = "", ""
        for run in mine:
            replay = test_ipvs.Replay(run)
            told = []
            for step in run["steps"]:
                picked = replay.run(step)
                told += [(step["first"], picked["first"])] if "first" in step else []
            real, model = real + "".join(r for r, _ in told), model + "".join(m for _, m in told)
        rows.append(_agreed(f"ipvs-{scheduler}", "IPVS", len(mine), real, model))
    for name in dict.fromkeys(run.get("balancer") for run in test_balancers.RUNS if run["how"] in SEQUENCES):
        mine = [run for run in test_balancers.RUNS if run.get("balancer") == name and run["how"] in SEQUENCES]
        model = [_nearest(run) for run in mine]
        versions = ", ".join(dict.fromkeys(run["source"].partition(",")[0] for run in mine))
        rows.append(_agreed(name, versions, len(mine), "".join(run["picks"] for run in mine), "".join(model)))
    about, ipvs = test_kube_proxy.FACTS["runs"], recording("ipvs/rr/sequential-fin/1-1-1").about
    return TRUTH.format(
        rows="\n".join(rows),
        runs=len(about),
        connections=sum(run["done"] for run in about),
        worst=min(_kube_proxy()),
        **ipvs,
    )


def _agreed(name: str, versions: str, runs: int, real: str, model: str) -> str:
    return f"| {name} | {versions} | {runs} | {sum(map(str.__eq__, real, model)):,} of {len(real):,} |"


def _nearest(run: dict) -> str:
    """The model's picks from the start that suits best."""
    if run["how"] == "exact":
        return test_balancers.asked(run)
    whole = len(run["picks"]) + sum(map(int, run["weights"].split("/")))
    if run["how"] == "rotation":
        turns = test_balancers.asked(run, n=whole)
        found = [turns[i : i + len(run["picks"])] for i in range(whole - len(run["picks"]))]
    else:
        found = (test_balancers.asked(run, seed) for seed in test_balancers.SEEDS)
    best = ""
    for picks in found:
        best = max(best, picks, key=lambda told: sum(map(str.__eq__, told, run["picks"])))
        if best == run["picks"]:
            break
    return best


def _kube_proxy() -> Iterator[float]:
    for run in test_kube_proxy.FACTS["runs"]:
        test_kube_proxy.test_real_connections(run)  # fate, support and sources are the model's
        if len(run["counts"]) > 1:
            yield chi_square_p(run["counts"], dict.fromkeys(run["counts"], 1 / len(run["counts"])))[2]


def write() -> Path:
    FILE.write_text(text(), encoding="utf-8")
    return FILE
