"""k8slb: what happens to a request in Kubernetes, layer by layer, as real components do it."""

from .answers.compare import compare
from .answers.fingerprint import fingerprint
from .answers.picks import picks
from .changes import hpa
from .errors import InputError, K8slbError, NotModelled
from .front import Cluster, facts_table, load
from .incidents import incident, incidents
from .sweep import sweep

__version__ = "0.1.0"
__all__ = [
    "Cluster",
    "InputError",
    "K8slbError",
    "NotModelled",
    "compare",
    "facts_table",
    "fingerprint",
    "hpa",
    "incident",
    "incidents",
    "load",
    "picks",
    "sweep",
]
