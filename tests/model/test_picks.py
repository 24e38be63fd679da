"""`k8slb picks`: the small world, its command line, and what holds for every balancer."""

import json
import subprocess
import sys
from fractions import Fraction
from math import inf
from random import Random

import pytest

import k8slb
from k8slb.answers.picks import picks
from k8slb.balancers import BALANCERS, balancer
from k8slb.balancers.base import Key, Peer, closed, connections, opened
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


PROXIES = sorted(
    n for n in BALANCERS if n.startswith(("nginx", "haproxy", "envoy", "traefik", "caddy", "kong", "linkerd"))
)
PROXIES += ["ingress-nginx-ewma", "ingress-nginx-chash", "ingress-nginx-canary", "gateway-weights"]
WHOLE = ["nginx-rr", "haproxy-roundrobin", "haproxy-static-rr", "envoy-round-robin", "traefik-wrr", "kong-round-robin"]


@pytest.mark.parametrize("name", PROXIES)
def test_a_weight_of_0_takes_nothing(name):
    addresses = [f"10.1.{k}.9" for k in range(60)]
    assert {*picks(name, {"a": 0, "b": 2, "c": 0, "d": 1}, 120, 2, keys=addresses).picks} <= {"b", "d"}
    assert {*picks(name, {"a": 0, "b": 0}, 20, keys=addresses).picks} == {None}


@pytest.mark.parametrize("name", PROXIES)
def test_peers_come_and_go(name):
    """One state, another list for each pick: what is remembered goes by address."""
    peers, state, rng = [Peer(f"10.244.1.{2 + p}:8080", 1 + p % 3) for p in range(6)], {}, Random(7)
    for k in range(300):
        if k % 20 == 0:
            there = rng.sample(peers, rng.randrange(1, 6))
        index = BALANCERS[name].pick(there, state, rng, Key(f"10.1.{k % 50}.9", text=f"/{k}"), k / 10)
        assert index in range(len(there))
        opened(state, there[index])
        closed(state, there[index])
        if answered := BALANCERS[name].answered:
            answered(state, there[index], rng.random(), k / 10 + 0.05)


@pytest.mark.parametrize("weights", [(1, 1, 1), (5, 1, 1), (7, 5, 3, 1), (10, 5, 5, 20, 10), (3, 0, 9, 6), (2,) * 8])
@pytest.mark.parametrize("name", [*WHOLE, "caddy-weighted-round-robin"])
def test_weighted_round_robins_share_whole_periods(name, weights):
    named, n = {str(p): w for p, w in enumerate(weights)}, 32 * sum(weights)
    shares = BALANCERS[name].exact([Peer(str(p), w) for p, w in enumerate(weights)], None)
    counts = picks(name, named, n, seed=3).counts
    assert [round(n * share) for share in shares] == pytest.approx(
        list(counts.values()), abs=int(name == "traefik-wrr")
    )


@pytest.mark.parametrize("name", sorted(n for n, b in BALANCERS.items() if b.hashes and not n.startswith("ipvs")))
def test_a_hash_shares_each_key_to_one(name):
    peers, state = [Peer(f"10.244.1.{2 + p}:8080", 1 + p) for p in range(4)], {}
    for k in range(40):
        key = Key(f"10.1.{k}.9", text=f"/orders/{k}")
        index = BALANCERS[name].pick(peers, state, Random(k), key, 0.0)
        assert BALANCERS[name].exact(peers, key) == [Fraction(i == index) for i in range(4)]


@pytest.mark.parametrize(
    "name", ["nginx-hash-consistent", "envoy-ring-hash", "envoy-maglev", "kong-consistent-hashing"]
)
def test_consistent_hashes_move_few_keys(name):
    """One peer of ten goes: its keys move, of the others almost none (Maglev tables differ a little elsewhere)."""
    keys, ten = [f"/{k}" for k in range(1000)], {f"10.0.0.{p}:80": 1 for p in range(10)}
    before, after = picks(name, ten, keys=keys).picks, picks(name, dict(list(ten.items())[1:]), keys=keys).picks
    kept = [a == b for b, a in zip(before, after, strict=True) if b != "10.0.0.0:80"]
    assert 1000 - len(kept) > 30 and sum(kept) > 0.9 * len(kept)
    hashed = (
        picks("nginx-hash", ten, keys=keys).picks,
        picks("nginx-hash", dict(list(ten.items())[1:]), keys=keys).picks,
    )
    assert sum(a == b for b, a in zip(*hashed, strict=True)) < 200


@pytest.mark.parametrize("name", ["gateway-weights", "ingress-nginx-canary", "envoy-random"])
def test_memoryless_ones_draw_their_exact_shares(name):
    shares = BALANCERS[name].exact([Peer("a", 8), Peer("b", 1), Peer("c", 1)], None)
    counts = picks(name, {"a": 8, "b": 1, "c": 1}, 20_000, seed=2).counts
    assert list(counts.values()) == pytest.approx([20_000 * float(share) for share in shares], rel=0.07)


SLOW = {
    "nginx-least-conn",
    "nginx-random-two",
    "haproxy-leastconn",
    "haproxy-random",
    "envoy-least-request",
    "traefik-p2c",
}
SLOW |= {"traefik-leasttime", "kong-least-connections", "kong-latency", "linkerd-p2c-ewma", "ingress-nginx-ewma"}


@pytest.mark.parametrize("name", sorted(SLOW))
def test_the_slow_one_gets_less(name):
    """a's requests last 20 times as long as the others': those that look at load or at answers spare it."""
    slow = picks(name, dict.fromkeys("abcd", 1), 4000, {"a": 40, "b": 2, "c": 2, "d": 2}, seed=1).counts
    assert slow["a"] < 0.6 * min(slow["b"], slow["c"], slow["d"])
    assert picks("nginx-rr", dict.fromkeys("abcd", 1), 4000, {"a": 40}).counts["a"] == 1000


def test_idle_kong_least_connections_leaves_one_out():
    """Its heap puts the one just used behind the first of the idle ones: the third never gets to the top."""
    assert "".join(picks("kong-least-connections", n=6).picks) == "ababab"
    assert "".join(picks("kong-least-connections", n=6, hold=inf).picks) == "abccab"


def test_a_function_of_ones_own():
    def second_best(peers, state, rng, key, now):
        state["turn"] = state.get("turn", 0) + 1
        return None if state["turn"] % 3 == 0 else min(range(len(peers)), key=lambda i: connections(state, peers[i])[0])

    assert "".join(p or "-" for p in k8slb.picks(second_best, n=6, hold=inf).picks) == "ab-ca-"
    own = balancer(second_best)
    assert (own.name, own.counts, own.memoryless, own.exact) == ("second_best", True, False, None)


@pytest.mark.parametrize("wrong", [3, -1, "a", 1.0, True, [0]])
def test_a_wrong_pick_of_ones_own_is_told(wrong):
    def mine(peers, state, rng, key, now):
        return wrong

    with pytest.raises(k8slb.InputError, match=r"mine picked .*; expected None, or a whole number below 3"):
        k8slb.picks(mine)


def test_no_balancer():
    for name in ("best", 7, None, ["nginx-rr"]):
        with pytest.raises(k8slb.InputError, match=r"there is no balancer .*nginx-rr"):
            balancer(name)


def test_no_haproxy_source_without_an_address_and_no_ring_too_large():
    with pytest.raises(k8slb.InputError, match="no key for HAProxy's source; expected an IP address"):
        picks("haproxy-source", keys=["/payments"])
    with pytest.raises(k8slb.NotModelled, match="ring of"):
        picks("nginx-hash-consistent", {"a": 60_000, "b": 1})


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
