"""Every way to pick one of n, by the name its owner gives it. One short reference function each."""

from ..errors import InputError, shown
from .base import Balancer
from .cloud import CLOUD
from .ingress_nginx import INGRESS_NGINX
from .ipvs import IPVS
from .uniform import UNIFORM

BALANCERS: dict[str, Balancer] = {b.name: b for b in (*UNIFORM, *IPVS, *INGRESS_NGINX, *CLOUD)}


def balancer(name: str) -> Balancer:
    """The balancer of that name; InputError naming the others."""
    if name not in BALANCERS:
        raise InputError(f"there is no balancer {shown(name)}", expected="one of: " + ", ".join(sorted(BALANCERS)))
    return BALANCERS[name]
