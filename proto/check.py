"""Check proto/ with buf: `python proto/check.py lint`, `breaking`, or `release`.

`lint` applies the rules of buf.yaml; `breaking` compares with the contract as last released, which
is the image beside this file; `release` writes that image anew. Needs the packages of the extra
`dev`. buf sees a workspace made for the occasion, with the google/api files that pip installed:
nothing is fetched from a registry of schemas.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from google.api import annotations_pb2

ROOT = Path(__file__).resolve().parent
RELEASED = ROOT / "released.binpb"
COMMANDS = {
    "lint": ("lint", "contract"),
    "breaking": ("breaking", "contract", "--against", str(RELEASED)),
    "release": ("build", "contract", "--exclude-source-info", "--output", str(RELEASED)),
}
MODULES = "  - path: contract\n  - path: google\n"


def run_buf(command: str, proto: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run one of COMMANDS on the .proto files below `proto`, and return what buf said."""
    buf = shutil.which("buf", path=os.pathsep.join((str(Path(sys.executable).parent), os.defpath)))
    if buf is None:
        raise FileNotFoundError("buf is not installed: pip install '.[dev]'")
    google = Path(annotations_pb2.__file__).parent
    with TemporaryDirectory() as scratch:
        workspace = Path(scratch)
        rules = (proto / "buf.yaml").read_text("utf-8").replace("  - path: .\n", MODULES)
        (workspace / "buf.yaml").write_text(rules, "utf-8")
        shutil.copytree(proto / "agentd", workspace / "contract" / "agentd")
        shutil.copytree(
            google,
            workspace / "google" / "google" / "api",
            ignore=lambda _, names: {name for name in names if not name.endswith(".proto")},
        )
        return subprocess.run(  # noqa: S603 - our own arguments
            [buf, *COMMANDS[command]],
            cwd=workspace,
            env={"HOME": scratch, "PATH": os.defpath},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


if __name__ == "__main__":
    result = run_buf(sys.argv[1])
    sys.stdout.write(result.stdout + result.stderr)
    sys.exit(result.returncode)
