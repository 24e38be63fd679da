"""`k8slb picks`: the small world, its command line, and what holds for every balancer."""

import json
import subprocess
import sys
from math import inf

import pytest

import k8slb
from k8slb.answers.picks import picks
from k8slb.balancers import BALANCERS
from k8slb.balancers.base import Key, Peer
from k8slb.manifests import DATA

RUNS = json.loads((DATA / "recordings/ipvs.json").read_text(encoding="utf-8"))["runs"]
PLAIN = {n: r for n, r in RUNS.items() if set(r) == {"scheduler", "weights", "steps"} and len(r["steps"]) == 1}
PLAIN = {n: r for n, r in PLAIN.items() if r["weights"] and "totals" in r["steps"][0]}


@pytest.mark.parametrize("run", PLAIN.values(), ids=PLAIN)
def test_the_world_is_the_recorded_one(run):
    """What the kernel was asked in its plainest form, asked as a reader would ask it."""
    (step,), pods = run["steps"], [str(p) for p in range(len(run["weights"]))]
    end = step.get("end", "closed")
    hold = inf if end == "held" else dict(zip(pods, end, strict=True)) if isinstance(end, list) else 0
    clients = step["open"] if step.get("clients") else None
    weights = dict(zip(pods, run["weights"], strict=True))
    found = picks(f"ipvs-{run['scheduler']}", weights, step["open"], hold, clients)
    assert "".join(p or "x" for p in found.picks[:60]) == step["first"]
    assert list(found.counts.values()) == step["totals"]


def test_there_are_plain_runs_of_every_scheduler():
    schedulers = {name[5:] for name in BALANCERS if name.startswith("ipvs-")} - {"mh-port"}
    assert len(PLAIN) > 80 and {run["scheduler"] for run in PLAIN.values()} == schedulers


@pytest.mark.parametrize("name", sorted(BALANCERS))
def test_every_balancer_picks_in_it(name):
    weights = {"web-0": 7, "web-1": 5, "10.0.0.9:80": 3, "web-3": 1}
    found = picks(name, weights, 400, {"web-0": 3}, clients=50, seed=3)
    assert sum(found.counts.values()) + found.picks.count(None) == 400 and set(found.picks) <= {*weights, None}
    assert found == picks(name, weights, 400, {"web-0": 3}, clients=50, seed=3)
    assert "web-3" in str(found) and len(picks(name, clients=7).picks) == 7


@pytest.mark.parametrize("weights", [(1, 1, 1), (5, 1, 1), (7, 5, 3, 1), (10, 5, 5, 20, 10), (3, 0, 9, 6), (2,) * 8])
@pytest.mark.parametrize("name", [f"ipvs-{s}" for s in ("rr", "wrr", "fo", "dh", "sh", "mh")])
def test_exact_shares_are_those_of_a_whole_period(name, weights):
    """Round robins over two periods; a hash for one client."""
    named = {str(p): w for p, w in enumerate(weights)}
    peers = [Peer(f"10.244.1.{2 + p}:8080", w) for p, w in enumerate(weights)]
    exact = BALANCERS[name].exact(peers, Key("10.244.0.2", 20_000, "10.96.0.10"))
    n = 2 * len(weights) * sum(weights)
    assert [float(n * share) for share in exact] == list(picks(name, named, n).counts.values())


def test_maglev_by_port_shares_its_slots():
    peers = [Peer(f"10.244.1.{2 + p}:8080", w) for p, w in enumerate((4, 3, 2))]
    exact = BALANCERS["ipvs-mh-port"].exact(peers, None)
    assert sum(exact) == 1 and all(abs(share - w / 9) < 0.001 for share, w in zip(exact, (4, 3, 2), strict=True))
    counts = picks("ipvs-mh-port", {"a": 4, "b": 3, "c": 2}, 30_000).counts
    assert all(abs(n / 30_000 - s) < 0.02 for n, s in zip(counts.values(), exact, strict=True))


def test_hold_for_counts_opens():
    """Two pods with room for two connections each, filled one after the other; then refused until one is over."""
    for hold, expected in ((1, "bbbbbb"), (2, "bbbbbb"), (3, "bbabba"), (4, "bbaabb"), (inf, "bbaa--")):
        found = picks("ipvs-ovf", {"a": 1, "b": 1}, 6, hold)
        assert "".join(p or "-" for p in found.picks) == expected, hold


def test_a_key_is_what_the_hash_works_on():
    addresses = [f"10.1.{k}.9" for k in range(40)]
    by_source, by_destination = picks("ipvs-sh", keys=addresses), picks("ipvs-dh", keys=addresses)
    assert by_source == by_destination and len(set(by_source.picks)) == 3
    assert picks("ipvs-sh", n=80, keys=addresses).picks == by_source.picks * 2
    assert len(set(picks("ipvs-lblc", n=9, hold=inf, keys=addresses[:1]).picks)) > 1


@pytest.mark.parametrize("scheduler", "rr wrr lc wlc lblc lblcr dh sh mh sed nq fo ovf".split())
def test_every_scheduler_of_a_cluster(scheduler):
    shop = k8slb.load("shop").with_proxy(mode="ipvs", scheduler=scheduler)
    run, url = shop.send("http://order-service", requests=300, seed=2), "http://order-service"
    assert sum(run.counts("pod").values()) == 300
    used = sum(n > 0 for n in run.counts("pod").values())  # one request after the other, from one client
    assert used == (3 if scheduler in ("rr", "wrr", "lc", "wlc", "mh") else 1)
    if BALANCERS[f"ipvs-{scheduler}"].exact:
        assert sum(shop.shares(url).values()) == 1
        assert {p for p, s in shop.shares(url).items() if s} == {p for p, n in run.counts("pod").items() if n}
    else:
        with pytest.raises(k8slb.NotModelled, match="use send"):
            shop.shares(url)
    assert shop.trace(url).to_dict()["pod"] in run.counts("pod")


# --- the command line ------------------------------------------------------------------------------------------------


def cli(*arguments, stdin=b""):
    command = [sys.executable, "-m", "k8slb", "picks", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=60)


def test_command_line():
    done = cli("ipvs-ovf", "--weights", "a=1,b=1", "--held", "-n", "5", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout) == {"picks": ["b", "b", "a", "a", None], "counts": {"a": 2, "b": 2}}
    slow = cli("ipvs-lc", "--hold-for", "a=40,b=5,c=5", "-n", "3000", "--json")
    assert json.loads(slow.stdout)["counts"] == {"a": 345, "b": 1327, "c": 1328}
    assert cli("ipvs-wrr", "--weights", "a=5,b=1,c=1").stdout.startswith(b"cbaaaaacba aaaacbaaaa")
    assert (
        json.loads(cli("ipvs-sh", "--keys", "-", "--json", stdin=b"10.1.2.3\n\n10.1.2.4\n").stdout)["counts"]["a"] == 1
    )
    assert set(json.loads(cli("--list", "--json").stdout)) == set(BALANCERS)
    assert cli("ipvs-rr", "--weights", "a=0").returncode == 1


WRONG = {
    "no such balancer": ("ipvs-best",),
    "weights": ("ipvs-rr", "--weights", "a=1,b"),
    "a weight twice": ("ipvs-rr", "--weights", "a=1,a=2"),
    "a negative weight": ("ipvs-rr", "--weights", "a=-1"),
    "a huge weight": ("ipvs-rr", "--weights", "a=99999"),
    "no address": ("ipvs-rr", "--weights", "1.2.3.400:80=1"),
    "one address twice": ("ipvs-rr", "--weights", "a=1,10.244.1.2:8080=1"),
    "no connection": ("ipvs-rr", "-n", "0"),
    "too many clients": ("ipvs-rr", "--clients", "99999"),
    "hold": ("ipvs-rr", "--hold-for", "long"),
    "hold nobody": ("ipvs-rr", "--hold-for", "z=3"),
    "held and held": ("ipvs-rr", "--held", "--hold-for", "3"),
    "seed": ("ipvs-rr", "--seed", "-1"),
    "no file": ("ipvs-sh", "--keys", "/nonexistent"),
    "no keys": ("ipvs-sh", "--keys", "-"),
}


@pytest.mark.parametrize("arguments", WRONG.values(), ids=WRONG)
def test_bad_input(arguments):
    done = cli(*arguments)
    assert done.returncode == 2 and not done.stdout
    assert b"Traceback" not in done.stderr and done.stderr.strip()


def test_a_key_that_is_no_address():
    done = cli("ipvs-sh", "--keys", "-", stdin=b"/payments\n")
    assert done.returncode == 2 and b"expected an IPv4 address" in done.stderr
