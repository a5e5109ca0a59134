"""Which words of a text count, in a query and for telling whether two texts say the same."""

import re
import unicodedata
from collections.abc import Sequence

MAX_QUERY_WORDS = 32
"""Words of a query that are looked for: more make it slower and no better."""

_WORD = re.compile(r"\w+")
_ARTICLES = frozenset({"a", "an", "the"})
_COMMON = _ARTICLES | frozenset(
    _WORD.findall(
        "about after all also am and any are as at be because been but by can could did do does "
        "for from had has have he her his how i if in into is it its just me my no not of on or "
        "our she should so than that their them then there these they this to was we were what "
        "when where which who why will with would you your"
    )
)
"""Words of English that nearly every text has. A query of nothing else keeps them."""


def words_of(text: str) -> Sequence[str]:
    """Return the words of a text in order: compatible characters made the same, without case."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def query_words(text: str) -> Sequence[str]:
    """Return the words to look for, each once, the telling ones only if there are any."""
    words = dict.fromkeys(words_of(text))
    telling = [word for word in words if word not in _COMMON]
    return (telling or list(words))[:MAX_QUERY_WORDS]


def sameness(text: str) -> str:
    """Return what two texts have in common that say the same: their words in order, without
    articles. Nothing fuzzier: `the port is 80` and `the port is 81` are near each other by every
    measure of distance, and contradict each other. A text without words is itself."""
    words = [word for word in words_of(text) if word not in _ARTICLES]
    return " ".join(words) or text
