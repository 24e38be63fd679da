"""The regular expressions of Ingresses and routes, as far as they come to an end."""

import re
from functools import lru_cache
from math import comb, prod

from .errors import NotModelled, shown


def search(pattern: str, text: str, flags: int = 0, find: str = "search") -> re.Match | None:
    """Where a regular expression matches. re.error for what is none, NotModelled for one that may take for ever."""
    endless, repeats, choices, compiled = _compiled(pattern, flags)
    if endless or comb(len(text) + repeats, repeats) * choices > 10**8:  # the ways there are to try
        raise NotModelled(f"the regular expression {shown(pattern)}: it may take for ever on {shown(text)}")
    return getattr(compiled, find)(text)


def whole(pattern: str, text: str) -> bool:
    """Whether a regular expression matches all of `text`. NotModelled for what Python takes for none."""
    try:
        return search(pattern, text, find="fullmatch") is not None
    except re.error:
        raise NotModelled(f"the regular expression {shown(pattern)}") from None


@lru_cache(2**15)
def _compiled(pattern: str, flags: int) -> tuple[bool, int, int, re.Pattern]:
    bare = re.sub(r"\\.|\[\^?.[^]]*\]", "x", pattern, flags=re.DOTALL)  # without escapes and character classes
    repeats = len(re.findall(r"[*+{]", bare))
    choices = prod(1 + part.count("|") for part in re.split("[()]", bare)) << len(re.findall(r"(?<![*+}(])\?", bare))
    try:
        compiled = re.compile(re.sub(r"\(\?<(?=\w)", "(?P<", pattern), flags)
    except (OverflowError, RecursionError):
        raise NotModelled(f"the regular expression {shown(pattern)}") from None
    return bool(re.search(r"\)[*+{]", bare)), repeats, choices, compiled
