"""The table says what was measured: medians, ratios inside a round, verdicts, what is missing."""

import json
from pathlib import Path

import pytest

from tests.benchmarks import report
from tests.benchmarks.__main__ import ROWS, select
from tests.benchmarks.harness import (
    Comparison,
    Figures,
    Measure,
    Result,
    Round,
    Sample,
    Target,
    UnavailableError,
)

ROW = Comparison("topic.row", "x/s", targets=(Target(5, 20), Target(0.5, 2.0, against="peer")))


def sample(ours: float, peer: float, foreign_cpu: float = 0.0) -> Sample:
    return Sample(Figures(ours, {"peer": peer}), foreign_cpu)


def test_a_ratio_is_taken_inside_a_round() -> None:
    # The machine is ten times slower in the last two rounds: the ratio does not notice.
    result = Result(ROW, [sample(100, 50), sample(10, 5), sample(12, 6)])
    ratio, ours = result.ratio("peer"), result.ours
    assert ratio is not None
    assert (ratio.least, ratio.median, ratio.most) == (2.0, 2.0, 2.0)
    assert ours is not None
    assert (ours.least, ours.median, ours.most) == (10, 12, 100)


def test_a_disturbed_round_is_left_out_when_a_quiet_one_exists() -> None:
    result = Result(ROW, [sample(1, 1, foreign_cpu=0.5), sample(10, 5)])
    assert result.ours is not None
    assert result.ours.median == 10
    assert result.disturbed_count == 0


def test_disturbed_rounds_are_kept_and_marked_when_there_are_no_others() -> None:
    result = Result(ROW, [sample(1, 1, foreign_cpu=0.5), sample(3, 1, foreign_cpu=0.4)])
    assert result.disturbed_count == 2
    assert "topic.row ~" in report.table([result], {})


@pytest.mark.parametrize(
    ("figure", "higher_is_better", "word"),
    [
        (9, True, "missed"),
        (10, True, "must"),
        (20, True, "aim"),
        (21, False, "missed"),
        (20, False, "must"),
        (10, False, "aim"),
    ],
)
def test_a_verdict_knows_which_way_is_better(
    figure: float, higher_is_better: bool, word: str
) -> None:
    target = Target(10, 20) if higher_is_better else Target(20, 10)
    row = Comparison("topic.row", "x", higher_is_better, targets=(target,))
    assert Result(row, [Sample(Figures(figure), 0.0)]).verdict(target) == word


def test_a_target_against_a_reference_judges_the_ratio() -> None:
    result = Result(ROW, [sample(100, 100)])
    own, against = ROW.targets
    assert (result.verdict(own), result.verdict(against)) == ("aim", "must")


def test_the_table_and_the_json_hold_the_same_figures() -> None:
    result = Result(ROW, [sample(100, 50)])
    table = report.table([result], {"python": "3"})
    document = json.loads(report.as_json([result], {"python": "3"}))
    row = document["rows"][0]
    assert row["ours"]["median"] == 100
    assert row["references"]["peer"]["ratio"]["median"] == 2
    assert [target["reached"] for target in row["targets"]] == ["aim", "aim"]
    assert "100 (100 … 100)" in table
    assert "python 3" in table


async def test_what_cannot_be_had_is_said_and_ends_nothing(tmp_path: Path) -> None:
    async def absent(_: Round) -> float:
        raise UnavailableError("no such runtime")

    async def present(_: Round) -> float:
        return 2.0

    row = Comparison("topic.row", "x", references={"absent": absent, "present": present})
    figures = await row.measure(Round(0, quick=True, directory=tmp_path))
    assert figures == Figures(None, {"present": 2.0}, {"absent": "no such runtime"})
    assert "no such runtime" in report.table([Result(row, [Sample(figures, 0.0)])], {})


async def test_sides_take_turns_and_a_reference_is_measured_once_a_round(tmp_path: Path) -> None:
    order: list[str] = []

    def side(name: str) -> Measure:
        async def measure(_: Round) -> float:
            order.append(name)
            return 1.0

        return measure

    row = Comparison("topic.row", "x", references={"peer": side("peer")}, ours=side("ours"))
    for number in (0, 1):
        shared = Round(number, quick=True, directory=tmp_path)
        await row.measure(shared)
        await row.measure(shared)
    assert order == ["ours", "peer", "ours", "peer", "ours", "ours"]


def test_rows_are_selected_by_name_or_by_topic() -> None:
    names = [row.name for row in ROWS]
    assert len(names) == len(set(names))
    assert [row.name for row in select(ROWS, "steps.grpc-1")] == ["steps.grpc-1"]
    assert all(row.name.startswith("limits.") for row in select(ROWS, "limits"))
    assert select(ROWS, "limits")
    assert select(ROWS, "step") == []
