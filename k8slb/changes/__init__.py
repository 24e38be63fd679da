"""Changes and failures: the cluster as it really is, second by second, and as each place learns of it.

A change is a Timeline that `send` goes over. It is made of lives (`lives.py`): what happens to each pod and node.
"""

from .autoscaling import autoscale, hpa
from .change import Change
from .failing import drain, node_dies, pod_dies
from .rollout import rollout

__all__ = ["Change", "autoscale", "drain", "hpa", "node_dies", "pod_dies", "rollout"]
