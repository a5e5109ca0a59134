"""How well and how fast memories are found again."""

from dataclasses import dataclass

from tests.benchmarks.harness import Comparison, Figures, Round, Target, UnavailableError
from tests.benchmarks.ours.recalling import exact_ms, latency_ms, quality, recall_at_10

SIZES = {"10k": 10_000, "100k": 100_000}
EMBEDDERS = ("minilm", "lexical")


@dataclass(frozen=True)
class WithExtra(Comparison):
    """A row whose every side needs packages that may not be here."""

    async def measure(self, round: Round) -> Figures:
        """Measure, or say what is missing."""
        try:
            return await Comparison.measure(self, round)
        except UnavailableError as why:
            return Figures(missing={"the extra": str(why)})


ROWS = (
    *(
        WithExtra(
            f"recall.at-10-{name}",
            "share",
            references={"vectors in SQLite": recall_at_10("sqlite", size)},
            ours=recall_at_10("chroma", size),
            targets=(Target(0.9, 0.95),),
        )
        for name, size in SIZES.items()
    ),
    *(
        WithExtra(
            f"recall.search-{name}",
            "ms",
            higher_is_better=False,
            references={
                "vectors in SQLite": latency_ms("sqlite", size),
                "all compared, numpy": exact_ms(size),
            },
            ours=latency_ms("chroma", size),
        )
        for name, size in SIZES.items()
    ),
    *(
        WithExtra(
            f"recall.quality-{embedder}",
            "MRR",
            references={way: quality(embedder, way) for way in ("words", "vectors")},
            ours=quality(embedder, "fused"),
        )
        for embedder in EMBEDDERS
    ),
)
