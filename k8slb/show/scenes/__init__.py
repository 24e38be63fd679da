"""What a decision looks like where it is taken: a chain of rules, a list, a ring, queues. Each scene is a function that
a panel asks at every step: `panel(..., inside=scenes.cascade)`."""

from .cascade import cascade
from .ipvs import ipvs
from .ring import ring
from .stacks import stacks

__all__ = ["cascade", "ipvs", "ring", "stacks"]
