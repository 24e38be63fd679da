"""Whether what the real thing answered is what the model says: of facts that were recorded, and of fresh ones."""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from k8slb.chance import chi_square_p
from k8slb.real.cases import MODES, Case, drawn

UNLIKELY = 1e-4  # below it chance alone does not explain a difference
STARTS = 60  # at which a sequence may begin
NEAR = 2  # requests: what a limit lets in while a burst comes, what a round robin's start moves
BUSY = 0.05  # of the requests: how far shares by load may be off, where a busy machine is slow itself


def against(case: Case, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts beside the model's: "p" (the probability of so great a difference by chance), "same" (how many picks are in
    the model's order, from some start; each None where it says nothing), "differs" (a sentence for all that does)."""
    told: dict[str, Any] = {"p": None, "same": None, "differs": []}
    if "apart" in case.given:
        return told
    model, other, differs = case.modelled(), case.modelled(1), told["differs"]
    if "urls" in case.given:
        differs += [f"{url}: {facts[url]}, the model {model[url]}" for url in model if facts[url] != model[url]]
        return told
    if "call" in case.given:
        for name, counts in model.items():
            differs += [f"{name}: {facts[name]}, the model {counts}"] if sorted(facts[name].values()) != counts else []
        return told
    compared, room = [name for name in ("status", "lost", "same_pod_on_second_visit") if name in model], 0.0
    if "steps" in case.given:
        compared = [step[k] for step in case.given["steps"] for k in ("counts", "same") if k in step]
    elif case.exact is None or case.given.get("users"):
        compared.append("counts" if "counts" in model else "pods_by_requests")
        room = BUSY * facts["requests"] if case.given.get("users") else NEAR
    elif "refused_by" in case.question.run.columns:
        room = NEAR
    else:
        told["p"] = chi_square_p(drawn(facts), case.exact)[2]
        differs += [f"p = {told['p']:.2g}"] if told["p"] < UNLIKELY else []
    for name in compared:
        differs += apart(name, facts.get(name, {}), model[name], room, model[name] != other[name])
    if case.given.get("sequence"):
        real, told["same"] = facts["picks"], 0
        for seed in range(STARTS):
            if told["same"] < len(real):
                told["same"] = max(told["same"], sum(map(str.__eq__, real, case.modelled(seed)["picks"])))
        differs += [] if told["same"] == len(real) else [f"{told['same']} of {len(real)} picks in the model's order"]
    if case.by in MODES and "sources" in facts and case.question.run.clients.users == 1:
        model = sources(case, facts["counts"])
        differs += [f"sources {facts['sources']}, the model {model}"] if model != facts["sources"] else []
    return told


def sources(case: Case, counts: Mapping[str, int]) -> dict[str, int]:
    """The addresses that the pods see, if so many requests came to each."""
    way = {k: v for k, v in case.given["send"].items() if k in ("from_", "via", "method", "headers")}
    hops = case.cluster.trace(case.given["url"], **way).hops
    seen = {c.address: c.flow.source for hop in hops for c in hop.decision.candidates}
    found = Counter()
    for pod, count in counts.items():
        found[seen.get(pod, "")] += count
    return dict(sorted((+found).items()))


def apart(name: str, real: Any, model: Any, room: float, chance: bool) -> list[str]:
    """A sentence where a number, or one of several, is further from the model's than `room` and chance explain."""
    if isinstance(model, dict):
        each = ((f"{name} {key}", real.get(key, 0), model.get(key, 0)) for key in sorted({*real, *model}))
        return [told for one in each for told in apart(*one, room, chance)]
    far = abs(real - model) > max(room, 5 * math.sqrt(real + model) if chance else 0)
    return [f"{name}: {real}, the model {model}"] if far else []
