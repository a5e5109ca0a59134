"""Show results, as one table for people or as the same figures in JSON."""

from collections.abc import Sequence

import msgspec

from tests.benchmarks.harness import FOREIGN_CPU_LIMIT, Result, Spread, Target

_HEADINGS = ("row", "unit", "agentd", "against", "reference", "ratio", "must", "aim", "reached")
_ABSENT = "-"


def table(results: Sequence[Result], versions: dict[str, str]) -> str:
    """Return the table, with what the figures depend on below it."""
    lines = [_HEADINGS, *(line for result in results for line in _lines(result))]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADINGS))]
    rendered = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    rendered.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join([*rendered, "", *_notes(results), _versions_line(versions)])


def _versions_line(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _notes(results: Sequence[Result]) -> list[str]:
    notes = ["median (least … most); a ratio is agentd ÷ reference inside one round"]
    if any(result.disturbed_count for result in results):
        share = f"{FOREIGN_CPU_LIMIT:.0%}"
        notes.append(f"~ other work used more than {share} of the machine in every round")
    for result in results:
        if result.failure:
            notes.append(f"{result.row.name}: {result.failure}")
        notes += [
            f"{result.row.name}, {name}: {why}"
            for name in result.reference_names()
            if (why := result.missing(name))
        ]
    return list(dict.fromkeys(notes))


def _lines(result: Result) -> list[tuple[str, ...]]:
    """Return a line for our own figure when it has a target, and one for each reference."""
    row = result.row
    mark = " ~" if result.disturbed_count else ""
    own = [target for target in row.targets if target.against is None]
    sides: list[tuple[str | None, Target | None]] = [(None, target) for target in own]
    against = {target.against: target for target in row.targets}
    sides += [(name, against.get(name)) for name in result.reference_names()]
    lines: list[tuple[str, ...]] = []
    for name, target in sides or [(None, None)]:
        first = not lines
        lines.append(
            (
                row.name + mark if first else "",
                row.unit if first else "",
                _figures(result.ours) if first else "",
                name or "",
                _figures(result.reference(name)) if name else "",
                _figures(result.ratio(name)) if name else "",
                _figure(target.must) if target else "",
                _figure(target.aim) if target else "",
                result.verdict(target) if target else "",
            )
        )
    return lines


def _figures(spread: Spread | None) -> str:
    if spread is None:
        return _ABSENT
    return f"{_figure(spread.median)} ({_figure(spread.least)} … {_figure(spread.most)})"


def _figure(value: float) -> str:
    """Return three significant digits, more for figures that have them before the point."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def as_json(results: Sequence[Result], versions: dict[str, str]) -> str:
    """Return the figures of the table, and of each round, as JSON."""
    document = {"versions": versions, "rows": [_document(result) for result in results]}
    return msgspec.json.format(msgspec.json.encode(document)).decode()


def _document(result: Result) -> dict[str, object]:
    return {
        "name": result.row.name,
        "unit": result.row.unit,
        "higher_is_better": result.row.higher_is_better,
        "ours": result.ours,
        "references": {
            name: {
                "figure": result.reference(name),
                "ratio": result.ratio(name),
                "missing": result.missing(name),
            }
            for name in result.reference_names()
        },
        "targets": [
            {
                "must": target.must,
                "aim": target.aim,
                "against": target.against,
                "reached": result.verdict(target),
            }
            for target in result.row.targets
        ],
        "rounds": result.samples,
        "disturbed_rounds": result.disturbed_count,
        "failure": result.failure,
    }
