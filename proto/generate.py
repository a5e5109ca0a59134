"""Regenerate agentd/v1/ from proto/: `python proto/generate.py [OUTPUT_DIR]`.

Needs the packages of the extra `generate`. Generated code refuses runtimes older than its
generator, so the generator is that of the lowest grpcio supported. Services are served and called
from their descriptors: no gRPC stubs are made. Generated code has no comments, which the OpenAPI
document is made of: they are in agentd/v1/comments.json, by the full name of what they describe.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

from google.api import annotations_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.message import Message
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent


def generate(output: Path) -> None:
    """Write what is generated below `output`: agentd/v1/*_pb2.py, *_pb2.pyi and comments.json."""
    google = Path(annotations_pb2.__file__).parents[2]
    sources = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("agentd/v1/*.proto"))
    with TemporaryDirectory() as scratch:
        described = Path(scratch) / "described"
        code = protoc.main(
            [
                "protoc",
                f"--proto_path={ROOT}",
                f"--proto_path={files('grpc_tools') / '_proto'}",
                f"--proto_path={google}",
                f"--python_out={output}",
                f"--pyi_out={output}",
                f"--descriptor_set_out={described}",
                "--include_source_info",
                *sources,
            ]
        )
        if code != 0:
            raise SystemExit(code)
        image = FileDescriptorSet.FromString(described.read_bytes())
    text = json.dumps(comments(image), ensure_ascii=False, indent=0, sort_keys=True)
    (output / "agentd" / "v1" / "comments.json").write_text(text + "\n", "utf-8")


def comments(image: FileDescriptorSet) -> dict[str, str]:
    """Return the comment above each definition, by its full name, as one paragraph."""
    return {
        full_name(file, location.path): " ".join(location.leading_comments.split())
        for file in image.file
        for location in file.source_code_info.location
        if location.leading_comments and location.path[0] in DEFINITIONS
    }


DEFINITIONS = {
    FileDescriptorProto.DESCRIPTOR.fields_by_name[name].number
    for name in ("message_type", "enum_type", "service")
}


def full_name(file: FileDescriptorProto, path: Sequence[int]) -> str:
    """Return the name of what a path of field numbers and indices leads to. The value of an enum
    has its enum's name in it, where protobuf itself has not."""
    return ".".join((file.package, *_names(file, path)))


def _names(at: Message, path: Sequence[int]) -> Iterator[str]:
    for number, index in zip(path[::2], path[1::2], strict=True):
        at = getattr(at, at.DESCRIPTOR.fields_by_number[number].name)[index]
        yield at.name  # type: ignore[attr-defined]


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT.parent)
