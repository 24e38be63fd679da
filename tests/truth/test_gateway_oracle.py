"""Random listeners and HTTPRoutes: which rule takes a request, against a naive reading of the API.

The oracle reads the rules of precedence as the API writes them (apis/v1/httproute_types.go, gateway_types.go, release
1.6.1) and goes through everything there is for each request; the model keeps indexes.
"""

import random
import re

import pytest
from truth.gateway_yaml import NS, gateway, listener, load, route, to

HOSTS = ["", "a.test", "b.a.test", "*.a.test", "*.test", "c.b.a.test", "*.b.a.test", "other.dev"]
PATHS = ["/", "/a", "/a/", "/a/b", "/a/b/", "/ab", "/a/b/c"]
ASKED = ["/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "/ab/", "/x", "/a/b?p=1", "/a?p=2&q=1", "/?p=1&p=2"]


def random_match(rng: random.Random) -> dict:
    match: dict = {}
    if rng.random() < 0.8:
        match["path"] = {"type": rng.choice(["Exact", "PathPrefix", "PathPrefix"]), "value": rng.choice(PATHS)}
    if rng.random() < 0.25:
        match["method"] = rng.choice(["GET", "POST"])
    if rng.random() < 0.3:
        names = rng.sample(["V", "v", "w"], rng.randint(1, 3))
        match["headers"] = [{"name": n, "value": rng.choice("12")} for n in names]
    if rng.random() < 0.25:
        names = rng.sample(["p", "q", "P"], rng.randint(1, 2))
        match["queryParams"] = [{"name": n, "value": rng.choice("12")} for n in names]
    return match


def random_world(rng: random.Random) -> tuple[list[dict], list[dict]]:
    listeners = [
        listener(f"l{i}", **({"hostname": h} if h else {}))
        for i, h in enumerate(rng.sample(HOSTS[:-1], rng.randint(1, 3)))
    ]
    routes = []
    for name in rng.sample(["p", "q", "r", "s"], rng.randint(1, 4)):
        rules = []
        for i in range(rng.randint(1, 3)):
            matches = [random_match(rng) for _ in range(rng.randint(0, 2))]
            rules.append({**to(rng.choice(["v1", "v2", "v3"])), "name": f"{name}-{i}", "matches": matches})
        hosts = rng.sample(HOSTS[1:], rng.choice([0, 1, 1, 2]))
        parent = {"sectionName": rng.choice(listeners)["name"]} if rng.random() < 0.3 else {}
        meta = {"creationTimestamp": f"2026-01-0{rng.randint(1, 2)}T00:00:00Z"}
        routes.append(route(*rules, name=name, hosts=hosts, meta=meta, **parent))
    return listeners, routes


def covers(pattern: str, host: str) -> bool:
    """A wildcard stands for one label or more."""
    if pattern.startswith("*."):
        return re.fullmatch(r"(\*|[a-z]+)(\.[a-z]+)*" + re.escape(pattern[1:]), host) is not None
    return pattern in ("", host)


def specific(pattern: str) -> tuple[int, int]:
    """Characters of a hostname without wildcard, then characters of one."""
    return (0 if pattern.startswith("*") else len(pattern), len(pattern))


def satisfied(match: dict, method: str, path: str, query: list[tuple[str, str]], headers: dict) -> bool:
    wanted = match.get("path", {"type": "PathPrefix", "value": "/"})
    if wanted["type"] == "Exact" and path != wanted["value"]:
        return False
    parts, given = [[x for x in p.split("/") if x] for p in (wanted["value"], path)]
    if wanted["type"] == "PathPrefix" and given[: len(parts)] != parts:
        return False
    if match.get("method", method) != method:
        return False
    for i, header in enumerate(match.get("headers", [])):
        earlier = [h["name"].lower() for h in match["headers"][:i]]
        if header["name"].lower() not in earlier and headers.get(header["name"].lower()) != header["value"]:
            return False
    return all(next((v for n, v in query if n == q["name"]), None) == q["value"] for q in match.get("queryParams", []))


def oracle(listeners, routes, method: str, host: str, asked: str, headers: dict) -> str | int:
    """The name of the rule that takes it, or 404."""
    listening = [x for x in listeners if covers(x.get("hostname", ""), host)]
    if not listening:
        return 404
    chosen = max(listening, key=lambda x: specific(x.get("hostname", "")))
    path, _, rest = asked.partition("?")
    query = [tuple(p.split("=")) for p in rest.split("&")] if rest else []
    found = []
    for one in routes:
        if one["spec"]["parentRefs"][0].get("sectionName", chosen["name"]) == chosen["name"]:
            for hostname in one["spec"].get("hostnames", [""]):
                if covers(hostname, host):
                    found.append((one, hostname, max(specific(hostname), specific(chosen.get("hostname", "")))))
    ways = []
    for one, hostname, left in found:
        if left != max(best for *_, best in found):
            continue  # a more specific hostname, as the listener leaves it, keeps the request
        for i, rule in enumerate(one["spec"]["rules"]):
            for match in rule["matches"] or [{}]:
                if not satisfied(match, method, path, query, headers):
                    continue
                wanted = match.get("path", {"type": "PathPrefix", "value": "/"})
                counted = len({h["name"].lower() for h in match.get("headers", [])})
                ways.append((
                    *(-n for n in specific(hostname)),
                    wanted["type"] != "Exact",
                    -len(wanted["value"]),
                    "method" not in match,
                    -counted,
                    -len(match.get("queryParams", [])),
                    one["metadata"]["creationTimestamp"],
                    f"{NS}/{one['metadata']['name']}",
                    i,
                    rule["name"],
                ))  # fmt: skip
    return min(ways)[-1] if ways else 404


@pytest.mark.parametrize("seed", range(16))
def test_a_naive_oracle_agrees(seed):
    rng = random.Random(seed)
    for _ in range(130):
        listeners, routes = random_world(rng)
        cluster = load(gateway(*listeners), *routes)
        address = next(a for a in cluster.balancer_at)
        for _ in range(8):
            method, host, path = (
                rng.choice(["GET", "POST"]),
                rng.choice(["a.test", "b.a.test", "c.b.a.test", "x.dev", "z.test"]),
                rng.choice(ASKED),
            )
            headers = {n: rng.choice("12") for n in rng.sample(["v", "w"], rng.randint(0, 2))}
            trace = cluster.trace(f"http://{address}{path}", method=method, headers=headers | {"Host": host})
            taken = trace.fact("route")
            found = taken.rpartition(" ")[2] if taken else trace.status
            assert found == oracle(listeners, routes, method, host, path, headers), (
                listeners,
                routes,
                method,
                host,
                path,
            )
