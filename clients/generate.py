"""Regenerate the clients' code from proto/: `python clients/generate.py [LANGUAGE...]`.

Needs the packages of the extra `generate`, and of each language its toolchain: the plugins are
fetched by its own package manager into build/generate, once for each version. Everything below a
language's generated folder is replaced. `--output DIR` writes a tree like clients/ elsewhere.
"""

import argparse
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from google.api import annotations_pb2
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parents[1]
PROTO = ROOT / "proto"
TOOLS = ROOT / "build" / "generate"
GOOGLE = Path(annotations_pb2.__file__).parents[2]

GO_MODULE = "github.com/agentd/agentd/clients/go"
GO_PLUGINS = {
    "protoc-gen-go": "google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12",
    "protoc-gen-go-grpc": "google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2",
}
NODE_PLUGIN = "@bufbuild/protoc-gen-es@2.12.1"
NODE_INCLUDES = (
    "google/api/annotations.proto",
    "google/api/http.proto",
    "google/rpc/error_details.proto",
)
"""What the contract imports and the errors are made of, for which Node has no package."""


@dataclass(frozen=True, slots=True)
class Language:
    """How one language's code is generated."""

    program: str
    """What its toolchain is recognised by."""
    folder: str
    """Where the code lives, below clients/."""
    generate: Callable[[Path], None]
    """Writes the code, given the folder that stands for clients/."""


def contract() -> list[str]:
    """Return the contract's files, as protoc names them."""
    return sorted(path.relative_to(PROTO).as_posix() for path in PROTO.glob("agentd/v1/*.proto"))


def run_protoc(options: Iterable[str], sources: Iterable[str]) -> None:
    """Run the protoc of grpcio-tools; exit when it fails."""
    includes = (PROTO, files("grpc_tools") / "_proto", GOOGLE)
    paths = (f"--proto_path={path}" for path in includes)
    code = protoc.main(["protoc", *paths, *options, *sources])
    if code != 0:
        raise SystemExit(code)


def _fetch(place: Path, command: Sequence[str], **environment: str) -> None:
    """Run a package manager once for a place of its own."""
    ready = place / "ready"
    if ready.exists():
        return
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    subprocess.run(command, cwd=place, env={**os.environ, **environment}, check=True)
    ready.touch()


def _go(output: Path) -> None:
    options = []
    for name, package in GO_PLUGINS.items():
        place = TOOLS / package.replace("/", "-")
        _fetch(place, ("go", "install", package), GOBIN=str(place))
        out = name.removeprefix("protoc-gen-")
        options += [
            f"--plugin={name}={place / name}",
            f"--{out}_out={output / 'go'}",
            f"--{out}_opt=module={GO_MODULE}",
        ]
    run_protoc(options, contract())


def _node(output: Path) -> None:
    place = TOOLS / NODE_PLUGIN.replace("/", "-")
    _fetch(place, ("npm", "install", "--no-package-lock", "--no-audit", "--no-fund", NODE_PLUGIN))
    plugin = place / "node_modules" / ".bin" / "protoc-gen-es"
    options = (
        f"--plugin=protoc-gen-es={plugin}",
        f"--es_out={output / LANGUAGES['node'].folder}",
        "--es_opt=target=ts,import_extension=js",
    )
    run_protoc(options, (*contract(), *NODE_INCLUDES))


LANGUAGES: Mapping[str, Language] = {
    "go": Language("go", "go/agentdv1", _go),
    "node": Language("npm", "node/src/gen", _node),
}


def generate(names: Iterable[str], output: Path) -> None:
    """Write the code of some languages below `output`."""
    for name in names:
        folder = output / LANGUAGES[name].folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        LANGUAGES[name].generate(output)


def main() -> None:
    """Read the command line; without a language, generate all whose toolchain is here."""
    parser = argparse.ArgumentParser(description="Regenerate the clients' code from proto/.")
    parser.add_argument("languages", nargs="*", metavar="LANGUAGE")
    parser.add_argument("--output", type=Path, default=ROOT / "clients")
    arguments = parser.parse_args()
    here = [name for name, language in LANGUAGES.items() if shutil.which(language.program)]
    generate(arguments.languages or here, arguments.output)


if __name__ == "__main__":
    main()
