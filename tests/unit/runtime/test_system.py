"""Chance is never given twice, wherever a page of it ends."""

from agentd.runtime.system import PAGE_BYTES, SystemEntropy


def test_nothing_is_given_twice() -> None:
    entropy = SystemEntropy()
    count = 3 * PAGE_BYTES // 16
    tokens = [entropy.token() for _ in range(count)]
    ids = [entropy.id("r") for _ in range(count)]
    assert len({*tokens, *ids}) == 2 * count
    assert {len(token) for token in tokens} == {32}
    assert {len(each) for each in ids} == {19}


def test_ids_sort_by_time() -> None:
    entropy = SystemEntropy()
    times = [entropy.id("r")[:11] for _ in range(100)]
    assert times == sorted(times)


def test_fractions_are_below_one() -> None:
    entropy = SystemEntropy()
    fractions = [entropy.fraction() for _ in range(10_000)]
    assert 0 <= min(fractions) < 0.01
    assert 0.99 < max(fractions) < 1
