"""Build libagentd for the Python that runs this: `python bindings/c/build.py`.

It installs `lib/libagentd.so.1`, `include/agentd.h` and `lib/pkgconfig/agentd.pc` below --prefix,
by default the virtual environment of this Python. Needs a C compiler, cffi (the extra `c`), and a
Python with its headers and its shared library; it downloads nothing.
"""

import argparse
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import cffi

HERE = Path(__file__).resolve().parent
SOURCES = ("agentd.c", "handles.c", "python.c")
HEADER = HERE / "agentd.h"
STRICT = ("-std=gnu11", "-Wall", "-Wextra")
SANITIZE = ("-fsanitize=address,undefined", "-fno-omit-frame-pointer")


def constant(name: str) -> int:
    """Return a number that the header defines."""
    found = re.search(rf"#define {name} (\d+)", HEADER.read_text("utf-8"))
    if found is None:
        raise SystemExit(f"{HEADER} does not define {name}")
    return int(found[1])


def generate(place: Path) -> Path:
    """Write the C code that cffi makes of glue.h and glue.py; return its file."""
    text = (HERE / "src" / "glue.h").read_text("utf-8")
    plain = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))
    declared, exported = plain.split("/* Written in Python:")
    ffi = cffi.FFI()
    ffi.cdef(declared)
    ffi.embedding_api("/* Written in Python:" + exported)
    ffi.embedding_init_code((HERE / "src" / "glue.py").read_text("utf-8"))
    ffi.set_source("_libagentd", '#include "glue.h"')
    made = place / "glue.c"
    with redirect_stdout(StringIO()):  # it says which file it makes
        ffi.emit_c_code(str(made))
    return made


def python_library() -> tuple[list[str], str]:
    """Return the directories and the name to link Python by. Raises SystemExit without one."""
    values = sysconfig.get_config_vars()
    folders = [Path(values[name]) for name in ("LIBDIR", "LIBPL") if values.get(name)]
    name = f"python{values['LDVERSION']}"
    if not any((folder / f"lib{name}.so").exists() for folder in folders):
        raise SystemExit(
            f"this Python has no shared library lib{name}.so: on Debian, apt install"
            " libpython3-dev; elsewhere, build Python with --enable-shared"
        )
    return [str(folder) for folder in folders], name


def compile_library(compiler: str, target: Path, *, sanitize: bool) -> None:
    """Compile and link the library into the file `target`."""
    folders, python = python_library()
    extra = SANITIZE if sanitize else ("-O2",)
    common = (compiler, "-c", "-g", "-fPIC", "-fvisibility=hidden", *extra)
    includes = [f"-I{path}" for path in (HERE, HERE / "src", sysconfig.get_path("include"))]
    with TemporaryDirectory() as scratch:
        place = Path(scratch)
        run(*common, "-w", *includes, str(generate(place)), "-o", str(place / "glue.o"))
        objects = [str(place / "glue.o")]
        for source in SOURCES:
            made = str((place / source).with_suffix(".o"))
            define = f'-DAGENTD_PYTHON="{sys.executable}"'
            run(*common, *STRICT, define, *includes, str(HERE / "src" / source), "-o", made)
            objects.append(made)
        run(
            *(compiler, "-shared", *extra, *objects, "-o", str(target)),
            *(f"-Wl,-soname,{target.name}", f"-Wl,--version-script={HERE / 'libagentd.map'}"),
            "-Wl,-z,nodelete",  # unloading an interpreter is not possible: dlclose does nothing
            *(flag for folder in folders for flag in (f"-L{folder}", f"-Wl,-rpath,{folder}")),
            *(f"-l{python}", "-lpthread", "-ldl"),
        )


def run(*command: str) -> None:
    """Run a compiler. Raises SystemExit when it fails; it has said why."""
    if subprocess.run(command, check=False).returncode != 0:
        raise SystemExit(f"failed: {' '.join(command)}")


def install(compiler: str, prefix: Path, *, sanitize: bool = False) -> Path:
    """Build the library and put it, its header and its pkg-config file below a prefix; return the
    library's file."""
    for folder in ("lib/pkgconfig", "include"):
        (prefix / folder).mkdir(parents=True, exist_ok=True)
    library = prefix / "lib" / f"libagentd.so.{constant('AGENTD_ABI')}"
    compile_library(compiler, library, sanitize=sanitize)
    link = prefix / "lib" / "libagentd.so"
    link.unlink(missing_ok=True)
    link.symlink_to(library.name)
    shutil.copy(HEADER, prefix / "include")
    number = constant("AGENTD_VERSION_NUMBER")
    version = f"{number // 10000}.{number // 100 % 100}.{number % 100}"
    template = (HERE / "agentd.pc.in").read_text("utf-8")
    (prefix / "lib" / "pkgconfig" / "agentd.pc").write_text(
        template.replace("@version@", version), "utf-8"
    )
    return library


def main(arguments: Sequence[str] | None = None) -> int:
    """Build as the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--prefix", type=Path, default=Path(sys.prefix), metavar="DIR")
    parser.add_argument("--cc", default="cc", metavar="COMPILER", help="default cc")
    parser.add_argument(
        "--sanitize", action="store_true", help="with AddressSanitizer, for tests of the library"
    )
    options = parser.parse_args(arguments)
    library = install(options.cc, options.prefix.resolve(), sanitize=options.sanitize)
    sys.stdout.write(f"{library}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
