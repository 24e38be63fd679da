"""What ingress-nginx's annotations do to a request: canaries, affinity, hashes, limits, users, retries, the log.

ingress_nginx.json holds what its Lua code did when it was run; the rest follows from its Go and Lua sources (1.15.1):
each test names the file it is read from.
"""

import json
from base64 import b64encode
from fractions import Fraction
from hashlib import md5
from pathlib import Path
from random import Random
from zlib import crc32

import pytest
from truth.ingress_yaml import manifests

import k8slb
from k8slb.layers.ingress.nginx_upstreams import NO_KEY

FACTS = json.loads((Path(__file__).parent / "ingress_nginx.json").read_text())
MAIN = {"rules": ["h.test / Prefix main"], "created": "2020-01-01T00:00:00Z"}


def canary(annotations=(), rule="h.test / Prefix canary", created="2021-01-01T00:00:00Z"):
    return {"rules": [rule], "annotations": {"canary": "true", **dict(annotations)}, "created": created}


def cluster(*ingresses, more=()):
    return k8slb.load("\n---\n".join([manifests(list(ingresses), "ingress-nginx"), *map(json.dumps, more)]))


def annotated(**annotations):
    return MAIN | {"annotations": {k.replace("_", "-"): v for k, v in annotations.items()}}


def gone(told, service="canary"):
    """The cluster without a Service's pods."""
    return told.with_objects(o for o in told.objects if not (o.kind == "Pod" and o.name.startswith(service)))


def portions(told, url="http://h.test/", **asked):
    """The share of each Service, and of each status that the controller answers itself."""
    shares = told.shares(url, **asked)
    found = dict(shares.answered)
    for pod, share in shares.items():
        name = told.pod_name(pod).rpartition("-")[0]
        found[name] = found.get(name, 0) + share
    assert sum(found.values()) == 1
    return found


def answer(told, url="http://h.test/", **asked):
    said = told.trace(url, **asked)
    return said.status if not said.served else said.fact("backend")["service"]


# --- canary ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotations", "headers", "percent"), [pytest.param(*r[1:], id=r[0]) for r in FACTS["canary"]]
)
def test_canary(annotations, headers, percent):
    told = cluster(MAIN, canary(annotations))
    got = portions(told, headers=headers)
    assert got.get("canary", 0) == Fraction(percent, 100)
    layers = [h.decision.layer for h in told.trace("http://h.test/", headers=headers).hops]
    assert layers.count("ingress") == (1 if percent in (0, 100) else 2)  # a hop more only where chance decides


def test_the_canary_of_a_rule():
    """getBackendServers and mergeAlternativeBackends, controller.go; get_balancer, balancer.lua."""
    always, twenty = {"canary-weight": "100"}, {"canary-weight": "20"}
    assert answer(cluster(canary(always))) == 404  # no other Ingress has the rule
    assert answer(cluster(MAIN, canary(always, "h.test /x Prefix canary")), "http://h.test/x") == "main"
    assert answer(cluster(MAIN, canary(always, "h.test / Exact canary"))) == "main"  # another pathType
    assert portions(cluster(MAIN, canary({"canary-weight": "50", "canary-weight-total": "200"})))["canary"] == Fraction(
        1, 4
    )
    assert portions(cluster(MAIN, canary({"canary-weight": "50", "canary-weight-total": "80"})))["canary"] == Fraction(
        1, 2
    )
    assert answer(cluster(MAIN, canary({"canary-weight": "70", "canary-weight-total": "60"}))) in ("main", "canary")
    two = cluster(MAIN, canary(twenty), canary(always, "h.test / Prefix other", "2022-01-01T00:00:00Z"))
    assert portions(two) == {"main": Fraction(4, 5), "canary": Fraction(1, 5)}  # the older one
    assert any("second canary" in w for w in two.trace("http://h.test/").warnings)
    assert portions(gone(cluster(MAIN, canary(always)))) == {"main": 1}  # without a pod there is no canary
    assert portions(gone(cluster(MAIN, canary(always)), "main")) == {"503": 1}  # nor does it stand in for the main
    all_of_it = canary(twenty) | {"rules": [], "default": "canary"}
    assert portions(cluster(MAIN | {"rules": [], "default": "main"}, all_of_it))["canary"] == Fraction(1, 5)
    # An upstream is a Service port, wherever it is used: another host with the same Service has the canary too.
    assert portions(
        cluster(MAIN | {"rules": [*MAIN["rules"], "else.test / Prefix main"]}, canary(always)), "http://else.test/"
    ) == {"canary": 1}


def test_what_counts_of_a_canary():
    rewrites = canary({"canary-weight": "100", "rewrite-target": "/new", "load-balance": "ewma", "limit-rps": "1"})
    told = cluster(annotated(limit_connections="3"), rewrites).trace("http://h.test/old")
    assert told.fact("forwarded")["path"] == "/old"
    dialled = told.hops[-2].decision
    assert (dialled.balancer, [x.kind for x in dialled.limits]) == ("ingress-nginx-ewma", ["connections"])
    assert any("limit-rps, rewrite-target" in w and "do not count" in w for w in told.warnings)


def test_affinity_before_the_canary():
    """is_affinitized, sticky.lua: a cookie names the upstream it is of, and is sent there again."""
    sticky = annotated(affinity="cookie", session_cookie_name="route")

    def of(upstream):
        return {"Cookie": f"route=key|{md5((md5(upstream.encode()).hexdigest() + upstream).encode()).hexdigest()}"}

    for behaviour, always in (("sticky", "canary"), ("legacy", "main")):
        rules = {"canary-by-header": "X-Canary", "affinity-canary-behavior": behaviour}
        told = cluster(sticky, canary(rules))
        assert answer(told, headers=of("default-main-80") | {"X-Canary": "always"}) == "main"
        assert answer(told, headers=of("default-canary-80") | {"X-Canary": "never"}) == always
        assert answer(told, headers={"X-Canary": "always"}) == "canary"


# --- which pod -------------------------------------------------------------------------------------------------------


def picks(told, **asked):
    return told.trace(asked.pop("url", "http://h.test/"), **asked).hops[-2].decision


def test_affinity_before_hashes_before_load_balance():
    """get_implementation, balancer.lua."""
    given = {"affinity": "cookie", "upstream_hash_by": "$request_uri", "load_balance": "ewma"}
    for wanted in ("ingress-nginx-chash", "ingress-nginx-chash", "ingress-nginx-ewma", "ingress-nginx-round-robin"):
        assert picks(cluster(annotated(**given))).balancer == wanted
        given = dict(list(given.items())[1:])


def test_cookies():
    """sticky_balanced.lua and sticky_persistent.lua: a key that is hashed, or the pod's address with a salt."""
    balanced = cluster(annotated(affinity="cookie"))
    first = picks(balanced)
    assert [(m.kind, m.key) for m in first.remembers] == [("cookie", "INGRESSCOOKIE")]
    assert "answers with Set-Cookie: INGRESSCOOKIE=KEY|" in first.why
    again = {"Cookie": "INGRESSCOOKIE=1700000000.29.12345|abc"}
    assert (picks(balanced, headers=again).key_text, picks(balanced, headers=again).remembers) == (
        "1700000000.29.12345",
        (),
    )
    assert len({balanced.trace("http://h.test/", headers=again, seed=s).pod for s in range(20)}) == 1
    assert len({balanced.trace("http://h.test/", seed=s).pod for s in range(20)}) == 2
    persistent = cluster(annotated(affinity="cookie", affinity_mode="persistent"))
    for pod in persistent.trace("http://h.test/").endpoints:
        salted = md5(f"default-main-80{pod}".encode()).hexdigest()
        assert portions(persistent, headers={"Cookie": f"INGRESSCOOKIE={salted}|x"}) == {"main": 1}
        assert persistent.shares("http://h.test/", headers={"Cookie": f"INGRESSCOOKIE={salted}|x"})[pod] == 1
    assert set(persistent.shares("http://h.test/", headers=again).values()) == {Fraction(1, 2)}  # a pod that is gone
    run = persistent.send("http://h.test/", requests=400, clients=20, seed=1)
    assert run.table.groupby("client")["pod"].nunique().eq(1).all()
    scaled = cluster(MAIN, annotated(affinity="cookie") | {"rules": ["h.test /cart Prefix main"]})
    assert picks(scaled).remembers == () and picks(scaled, url="http://h.test/cart").remembers  # one upstream


def test_upstream_hash_by():
    """util.lua, parse_complex_value and generate_var_value; chash.lua."""
    assert crc32(NO_KEY.encode()) == crc32(b"")
    asked = {"url": "http://h.test/a?b=1&c=2", "headers": {"X-User": "ann", "Cookie": "sid=7; t=1"}}
    for by, key in (
        ("$request_uri", "/a?b=1&c=2"),
        ("$host$uri", "h.test/a"),
        ("${http_x_user}-v1", "ann-v1"),
        ("$cookie_sid-$arg_c", "7-2"),
        ("$http_x_none", NO_KEY),
    ):
        assert picks(cluster(annotated(upstream_hash_by=by)), **asked | {}).key_text == key
    with pytest.raises(k8slb.NotModelled, match="nginx variable"):
        cluster(annotated(upstream_hash_by="$ssl_session_id")).trace("http://h.test/")
    by_user = cluster(annotated(upstream_hash_by="$http_x_user"))
    pods = {
        user: {by_user.trace("http://h.test/", headers={"X-User": user}, seed=s).pod for s in range(5)}
        for user in "abcdefgh"
    }
    assert all(len(p) == 1 for p in pods.values()) and len(set.union(*pods.values())) == 2
    subset = cluster(annotated(upstream_hash_by="$request_uri", upstream_hash_by_subset="true"))
    assert sorted(subset.shares("http://h.test/").values()) == [Fraction(1, 3), Fraction(2, 3)]  # three of two pods


def test_what_a_reload_loses():
    """IsDynamicConfigurationEnough, controller.go; round_robin.lua: sync gives reinit, which begins at a random pod."""

    def generation(*ingresses, change=lambda c: c):
        return picks(change(cluster(*ingresses))).state[-1]

    plain = generation(MAIN)
    assert (
        plain == generation(MAIN, canary({"canary-weight": "0"})) == generation(annotated(load_balance="round_robin"))
    )
    assert plain != generation(annotated(limit_rps="5"))  # nginx.conf changes
    assert plain != generation(MAIN, change=lambda c: gone(c, "main-2"))
    assert generation(annotated(load_balance="ewma")) == generation(
        annotated(load_balance="ewma", limit_rps="5")
    )  # shared


# --- whom it admits --------------------------------------------------------------------------------------------------


def test_limits():
    """ratelimit/main.go, buildRateLimit in template.go; the burst of 6, 11 and 51 was counted on a real nginx."""
    for rate, at_once in ((1, 6), (2, 11), (10, 51)):
        run = cluster(annotated(limit_rps=str(rate))).send("http://h.test/", requests=100, via="node-a")
        assert run.table["status"].value_counts()["200"] == at_once
    limits = picks(cluster(annotated(limit_rpm="30", limit_burst_multiplier="2", limit_connections="4"))).limits
    assert [(x.kind, x.rate, x.burst, x.status) for x in limits] == [("connections", 0, 4, 503), ("rate", 0.5, 60, 503)]
    spared = annotated(limit_rps="1", limit_whitelist="172.18.0.0/16")  # where nodes are, whose address is seen
    assert picks(cluster(spared)).limits == ()
    assert any("externalTrafficPolicy" in w for w in cluster(annotated(limit_rps="1")).trace("http://h.test/").warnings)


def secret(**content):
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "users"}, **content}


def test_users():
    """auth/main.go: a setting it cannot read denies the location, 503; without a known user 401."""
    asks = annotated(auth_type="basic", auth_secret="users", auth_realm="staff")
    lines = "ann:$apr1$x\nbob:$apr1$y\n"
    for more in (secret(stringData={"auth": lines}), secret(data={"auth": b64encode(lines.encode()).decode()})):
        told = cluster(asks, more=[more])
        for who, status in ((b"ann:secret", "main"), (b"eve:x", 401), (None, 401)):
            headers = {"Authorization": f"Basic {b64encode(who).decode()}"} if who else {}
            assert answer(told, headers=headers) == status
        assert any(
            "not checked" in w
            for w in told.trace("http://h.test/", headers={"Authorization": "Basic YW5uOng="}).warnings
        )
    by_key = annotated(auth_type="digest", auth_secret="users", auth_secret_type="auth-map")
    told = cluster(by_key, more=[secret(stringData={"ann": "x"})])
    assert answer(told, headers={"Authorization": 'Digest username="ann", realm="r"'}) == "main"
    assert answer(told, headers={"Authorization": "Digest username=eve"}) == 401
    for wrong in (
        (asks, ()),
        (asks, [secret(stringData={"other": ""})]),
        (annotated(auth_type="basic"), ()),
        (annotated(auth_type="ntlm", auth_secret="users"), [secret(stringData={"auth": lines})]),
        (annotated(auth_type="basic", auth_secret="else/users"), ()),
        (annotated(whitelist_source_range="everybody"), ()),
        (annotated(auth_url="/check"), ()),
    ):
        assert answer(cluster(wrong[0], more=wrong[1])) == 503
    assert answer(gone(cluster(asks, more=[secret(stringData={"auth": lines})]), "main")) == 503  # before it asks who


def test_addresses_and_the_subrequest():
    """buildAllowedLocation in template.go: denied addresses first; authreq: nginx resolves full names only."""
    assert answer(cluster(annotated(whitelist_source_range="10.1.0.0/16, 172.18.0.0/16"))) == "main"
    assert answer(cluster(annotated(whitelist_source_range="10.1.0.0/16"))) == 403
    both = annotated(whitelist_source_range="172.18.0.0/16", denylist_source_range="172.18.0.0/24")
    assert answer(cluster(both)) == 403
    ask = {
        "full": "main.default.svc.cluster.local",
        "none": "none.default.svc.cluster.local",
        "outside": "auth.example.com",
    }
    asked = {k: answer(cluster(annotated(auth_url=f"http://{host}/check"))) for k, host in ask.items()}
    assert asked == {"full": "main", "none": 500, "outside": "main"}
    assert answer(cluster(annotated(auth_url="http://main.default/check"))) == 500


def test_what_is_tried_again():
    """config.go: error timeout, three tries; nginx tries a status again for idempotent methods only."""
    plain = picks(cluster(MAIN)).on_failure
    assert (plain.tries, plain.refused, plain.timed_out, plain.statuses) == (3, 502, 504, frozenset())
    more = picks(
        cluster(annotated(proxy_next_upstream="error timeout http_503", proxy_next_upstream_tries="2"))
    ).on_failure
    assert (more.tries, more.statuses, "POST" in more.methods, "GET" in more.methods) == (2, {503}, False, True)
    assert (
        picks(cluster(annotated(proxy_next_upstream="error timeout http_502 non_idempotent"))).on_failure.methods
        == frozenset()
    )
    assert picks(cluster(annotated(proxy_next_upstream="off"))).on_failure.tries == 1


@pytest.mark.parametrize(
    ("notes", "method", "patience", "late"),
    [
        ({}, "GET", 60.0, None),
        ({}, "POST", 60.0, 1),  # it was sent
        ({"proxy_next_upstream": "error timeout non_idempotent"}, "POST", 60.0, None),
        ({"proxy_read_timeout": "5"}, "GET", 5.0, None),
        ({"proxy_read_timeout": "5s"}, "GET", 60.0, None),  # no number: the default
        ({"proxy_read_timeout": "2", "proxy_next_upstream_timeout": "4"}, "GET", 2.0, 2),
        ({"proxy_read_timeout": "2", "proxy_next_upstream_timeout": "5"}, "GET", 2.0, 3),
        ({"proxy_read_timeout": "2", "proxy_next_upstream_timeout": "1"}, "GET", 2.0, 1),
        ({"proxy_read_timeout": "2", "proxy_next_upstream_timeout": "0"}, "GET", 2.0, None),
    ],
)
def test_how_long_it_waits(notes, method, patience, late):
    """config.go: 60 s, no limit on further tries; ngx_http_upstream.c: none begins once that many seconds are over, and
    none for POST, LOCK and PATCH once they were sent, unless non_idempotent."""
    trace = cluster(annotated(**notes)).trace("http://h.test/", method=method)
    decision = next(h.decision for h in trace.hops if h.decision.layer == "ingress")
    assert ({c.flow.patience for c in decision.candidates}, decision.on_failure.late) == ({patience}, late)
    assert not any("mean nothing" in warning for warning in trace.warnings)


# --- what else it answers, and what it writes ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotations", "url", "status", "location"),
    [
        ({"permanent_redirect": "https://new.test$request_uri"}, "http://h.test/a?b", 301, "https://new.test/a?b"),
        (
            {"permanent_redirect": "https://new.test", "permanent_redirect_code": "308"},
            "http://h.test/",
            308,
            "https://new.test",
        ),
        (
            {"permanent_redirect": "https://new.test", "permanent_redirect_code": "418"},
            "http://h.test/",
            301,
            "https://new.test",
        ),
        (
            {"permanent_redirect": "https://a.test", "temporal_redirect": "https://b.test"},
            "http://h.test/",
            302,
            "https://b.test",
        ),
        ({"from_to_www_redirect": "true"}, "http://www.h.test/a/?b", 308, "http://h.test/a/?b"),
        ({"from_to_www_redirect": "true"}, "http://www.h.test/a/", 308, "http://h.test/a"),
        ({"app_root": "/app", "force_ssl_redirect": "true"}, "http://h.test/", 302, "http://h.test/app"),
        ({"app_root": "/app", "force_ssl_redirect": "true"}, "http://h.test/x", 308, "https://h.test/x"),
        ({"server_alias": "alias.test, *.alias.test"}, "http://alias.test/", 200, None),
    ],
)
def test_redirects_and_names(annotations, url, status, location):
    told = cluster(annotated(**annotations)).trace(url)
    assert (told.status, told.fact("location")) == (status, location)


def test_an_alias_that_is_a_pattern_is_said_to_be_left_out():
    told = cluster(annotated(server_alias=r"~^v\d+\.test$, *.alias.test, plain.test"))
    warned = {
        host: told.trace(f"http://{host}/").warnings for host in ("v1.test", "a.alias.test", "h.test", "plain.test")
    }
    assert {h: any("server-alias" in w for w in found) for h, found in warned.items()} == {
        "v1.test": True,
        "a.alias.test": True,
        "h.test": False,
        "plain.test": False,
    }


def test_the_log():
    """log-format-upstream as in config.go; what the model does not know is a dash."""
    told = cluster(MAIN, canary({"canary-weight": "100"}))
    line = told.trace("http://h.test/a{1}", headers={"User-Agent": "curl {8}"}).fact("log")
    assert line.format(upstream="10.0.0.5:8080", status=200) == (
        '172.18.0.3 - - [-] "GET /a{1} HTTP/1.1" 200 - "-" "curl {8}" - - '
        "[default-main-80] [default-canary-80] 10.0.0.5:8080 - - 200 -"
    )


# --- always ----------------------------------------------------------------------------------------------------------


def by_hand(paths: list[tuple[str, str]], uri: str) -> tuple[str, str] | None:
    """nginx's choice among (pathType, path) without an index, as location.go writes them; "301" for an added slash."""
    exact = {p for kind, p in paths if kind == "Exact"}
    blocks = [("=", p, (kind, p)) for kind, p in paths if kind == "Exact"]
    for kind, p in paths:
        if kind == "Prefix":
            blocks.append(("", p.rstrip("/") + "/", (kind, p)))
            blocks += [("=", p, (kind, p))] if p not in exact and p != "/" else []
    equal = [rule for kind, p, rule in blocks if kind and p == uri]
    if equal:
        return equal[0]
    if any(p == uri + "/" for _, p, _ in blocks):
        return "301"
    return max(((len(p), rule) for kind, p, rule in blocks if not kind and uri.startswith(p)), default=(0, None))[1]


def test_every_request_has_one_outcome():
    """Random rules, canaries and paths: nginx's choice, worked out without an index; shares that sum to 1."""
    rng = Random(1)
    names = ["", "a", "b", "a/b", "a/b/", "ab", "a/bc", "b/", "a/b/c"]
    for _ in range(30):
        kinds = [(rng.choice(["Prefix", "Exact"]), "/" + name) for name in rng.sample(names, rng.randint(1, 6))]
        rules = [f"h.test {p} {kind} s{i}" for i, (kind, p) in enumerate(kinds)]
        asked = rng.sample(range(len(rules)), rng.randint(0, len(rules)))
        weights = {i: (rng.choice([0, 1, 30, 100, 150]), rng.choice([10, 100, 300])) for i in asked}
        canaries = [
            canary(
                {"canary-weight": str(w), "canary-weight-total": str(total)},
                rules[i].rpartition(" ")[0] + f" c{i}",
            )
            for i, (w, total) in weights.items()
        ]
        told = cluster({"rules": rules, "created": MAIN["created"]}, *canaries)
        for uri in ("/", *("/" + n for n in names), "/a/b/c/d", "/none"):
            rule, got = by_hand(kinds, uri), portions(told, f"http://h.test{uri}")
            if rule in (None, "301"):
                assert got == {str(rule or 404): 1}
                continue
            i = kinds.index(rule)
            weight, total = weights.get(i, (0, 100))
            part = min(Fraction(1), Fraction(weight, max(100, total)))
            assert got == {name: share for name, share in ((f"s{i}", 1 - part), (f"c{i}", part)) if share}
