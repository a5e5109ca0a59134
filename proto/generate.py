"""Regenerate agentd/v1/ from proto/: `python proto/generate.py [OUTPUT_DIR]`.

Needs the packages of the extra `generate`. Generated code refuses runtimes older than its
generator, so the generator is that of the lowest grpcio supported. Services are served and called
from their descriptors: no gRPC stubs are made.
"""

import sys
from importlib.resources import files
from pathlib import Path

from google.api import annotations_pb2
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent


def generate(output: Path) -> None:
    """Write the generated modules below `output`, as agentd/v1/*_pb2.py and *_pb2.pyi."""
    google = Path(annotations_pb2.__file__).parents[2]
    sources = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("agentd/v1/*.proto"))
    code = protoc.main(
        [
            "protoc",
            f"--proto_path={ROOT}",
            f"--proto_path={files('grpc_tools') / '_proto'}",
            f"--proto_path={google}",
            f"--python_out={output}",
            f"--pyi_out={output}",
            *sources,
        ]
    )
    if code != 0:
        raise SystemExit(code)


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT.parent)
