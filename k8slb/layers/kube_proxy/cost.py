"""How many of the `rules` of a node (Kubernetes 1.36) a new connection meets; one that conntrack knows meets none."""

from ...cluster import MODES
from ...errors import InputError, shown, whole


def walked(mode: str, position: int, endpoints: int, pick: int, sticky: bool = False) -> dict[str, int]:
    """The rules a pod's new connection to a ClusterIP meets until its destination is rewritten, by chain.

    `position`: of the Service port's rule in KUBE-SERVICES, from 1; the order there changes from sync to sync, and
    every externalIP and load balancer's address has a rule as well. `pick`: which of the `endpoints`, from 0. `sticky`:
    with ClientIP affinity, for a client not yet known. In nftables mode a rule may look something up in a set or map,
    which costs the same at any size; IPVS looks up its virtual server in one hash table and meets none (its few fixed
    iptables rules are left out).
    """
    whole(position, "the position", 1, 10**9)
    whole(pick, "the pick", 0, whole(endpoints, "the number of endpoints", 1, 10**9) - 1)
    remembered = endpoints if sticky else 0
    if mode == "iptables":  # KUBE-SVC: the mark for strangers, who is remembered, the lottery; KUBE-SEP: itself, DNAT
        return {"PREROUTING": 1, "KUBE-SERVICES": position, "KUBE-SVC": 1 + remembered + pick + 1, "KUBE-SEP": 2}
    if mode == "nftables":  # services: the mark for strangers, the map of addresses; endpoint: remember, DNAT
        return {"nat-prerouting": 1, "services": 2, "service": remembered + 1} | ({"endpoint": 2} if sticky else {})
    if mode != "ipvs":
        raise InputError(f"{shown(mode)} is no kube-proxy mode", expected="one of " + ", ".join(MODES))
    return {}
