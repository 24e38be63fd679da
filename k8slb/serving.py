"""Where requests wait their turn: the workers of one pod, which serve them in the order in which they came.

Work is never cancelled, also where nobody waits for it any more; so when a request is done is known as it comes.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush, heapreplace
from math import inf, log, sqrt
from random import Random

from .decision import Timeline, Work
from .layers import pods


def units(work: Work, rng: Random) -> Callable[[], float]:
    """Draws of how long one takes, over the mean."""
    if work.spread == "exponential":
        return lambda: -log(1.0 - rng.random())
    if work.spread == "lognormal" and work.cv:
        square = log(1 + work.cv**2)
        return lambda: rng.lognormvariate(-square / 2, sqrt(square))
    return lambda: 1.0


class Station:
    """The workers of the pod `name` ("namespace/name"), `address` to those who ask it.

    Its pace is what the cluster says at each moment, and slower after the pod has become ready while others asked
    already (`cold`): what is under way then goes on at the new pace. `last`: when the last request is sent (inf: not
    known yet), from when on it does not matter how busy they are.
    """

    def __init__(self, name: str, address: str, timeline: Timeline, rng: Random, last: float):
        self.address, self.rng, self.last = address, rng, last
        self.since: list[float] = []  # from when on a unit takes so many seconds
        self.seconds: list[float] = []
        self.ends: list[float] = []  # when its process does
        self._paced(tuple(name.split("/", 1)), timeline)
        self.work: Work | None = None
        self.free: list[float] = []  # when each worker is, a heap
        self.begin: deque[float] = deque()  # when those who wait do
        self.busy = 0.0
        self.life = 0

    @property
    def until(self) -> float:
        """What is not done by then never will be."""
        return self.ends[self.life] if self.life < len(self.ends) else inf

    def _paced(self, name: tuple[str, ...], timeline: Timeline) -> None:
        before, warm, lived = None, -inf, False
        for moment, cluster in timeline.moments:
            pod = cluster.pod_named.get(name)
            lives = pod is not None and (not pod.down or pod.down.startswith("closed"))
            self.ends += [moment] if lived and not lives else []
            work = pods.work_of(pod) if pod and pod.ready else None
            if before and warm < moment:
                self._from(warm, before.mean)
            if work and not before and moment:
                warm = moment + work.cold
            if work:
                self._from(moment, work.mean / work.speed if moment < warm else work.mean)
            before, lived = work, lives
        if before:
            self._from(warm, before.mean)

    def _from(self, moment: float, seconds: float) -> None:
        if not self.since or (moment > self.since[-1] and seconds != self.seconds[-1]):
            self.since.append(moment)
            self.seconds.append(seconds)

    def serves(self, work: Work, now: float) -> float | None:
        """When the request that comes now is done; None where as many wait as may."""
        if work is not self.work:
            self._hires(work, now)
        if self.ends and now >= self.until:  # another process: it has nothing to do yet
            self.life = bisect_right(self.ends, now)
            self.free, self.begin = [now] * work.workers, deque()
        begins = self.free[0]
        if begins <= now:
            begins = now
        elif work.queue is not None:
            while self.begin and self.begin[0] <= now:
                self.begin.popleft()
            if len(self.begin) >= work.queue:
                return None
            self.begin.append(begins)
        left = self.draw()
        if len(self.since) < 2:
            done = begins + left * work.mean
        else:
            done = self._done(begins, left)
        heapreplace(self.free, done)
        self.busy += max(0.0, min(done, self.until, self.last) - begins)
        return done

    def worked(self, until: float) -> tuple[float, int]:
        """The seconds its workers were busy by then, when the last request was sent, and how many they are."""
        left = 0.0 if self.last < inf else sum(max(0.0, min(free, self.until) - until) for free in self.free)
        return max(0.0, self.busy - left), self.work.workers

    def _done(self, at: float, left: float) -> float:
        """When so many units are done that begin at `at`."""
        i = max(0, bisect_right(self.since, at) - 1)
        for until, seconds in zip([*self.since[i + 1 :], inf], self.seconds[i:], strict=True):
            if at + left * seconds <= until:
                break
            left -= (until - at) / seconds
            at = until
        return at + left * seconds

    def _hires(self, work: Work, now: float) -> None:
        """Other workers, or so many of them: the idle ones leave first."""
        self.work, self.draw = work, units(work, self.rng)
        while len(self.free) < work.workers:
            heappush(self.free, now)
        while len(self.free) > work.workers:
            heappop(self.free)
