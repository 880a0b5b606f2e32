"""The house rules: imports point down, peers do not know each other, each library has one home, and help is quick."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "mitoscale"

LAYERS = (
    ("__main__", "__init__"),
    ("cli", "api"),
    ("dashboard", "export"),
    ("pipeline",),
    ("viewer",),
    ("report",),  # the report is a stage too: the last one, which may know the others
    ("corrections",),
    ("training",),
    ("evaluation",),
    ("stages",),
    ("nets", "cluster", "storage"),
    ("ops",),
    ("core",),
)
"""From the top down; the parts of one layer are peers."""

CORE_ONLY = ("cluster", "storage", "ops")
"""Parts that know nothing of mitoscale but core."""

HOMES = {
    "click": ("cli",),
    "rich": ("cli",),
    "bokeh": ("dashboard",),
    "dask": ("cluster", "api"),  # the api's lazy arrays
    "dask_cuda": ("cluster",),
    "distributed": ("cluster", "dashboard"),
    "yaml": ("cluster", "nets", "pipeline", "training"),
    "imagecodecs": ("storage",),
    "pandas": ("api",),
    "h5py": ("storage",),
    "hdf5plugin": ("storage",),
    "mrcfile": ("storage",),
    "pyarrow": ("storage",),
    "tensorstore": ("storage",),
    "tifffile": ("storage",),
    "zarr": ("storage",),
    "matplotlib": ("report",),
    "neuroglancer": ("viewer",),
    "safetensors": ("nets",),
    "segment_anything": ("nets",),
    "torch": ("nets", "training"),
    "torchvision": ("nets", "training"),
    "xarray": ("api",),
    "cc3d": ("ops", "training"),
    "fastremap": ("ops",),
    "scipy": ("evaluation", "ops", "training"),
    "skimage": ("ops",),
    "fast_simplification": ("ops",),
    "DracoPy": ("storage",),
}
"""Libraries, and the only parts that may import them."""

CORE_LIBRARIES = {"numpy", "pydantic"}
"""All that core needs beyond the standard library."""

HEAVY = ("dask", "distributed", "matplotlib", "numpy", "pyarrow", "scipy", "skimage", "tensorstore", "torch", "zarr")
"""What the command line may load only once a command runs."""

Import = tuple[Path, int, str]


def part_of(name: str) -> str:
    """The part of a module's dotted name below ``mitoscale``; the package itself, which tells its version, is part of core."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "core"


def imports() -> Iterator[Import]:
    """File, line and dotted name of each import in the package, those inside functions too."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((path, node.lineno, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}:{node.lineno} imports relatively"
                inside = [f"{node.module}.{alias.name}" for alias in node.names]
                modules = [name for name in inside if PACKAGE.parent.joinpath(*name.split(".")).with_suffix(".py").is_file()]
                if node.module == "mitoscale":  # from mitoscale import pipeline
                    yield from ((path, node.lineno, name) for name in inside)
                else:
                    yield from ((path, node.lineno, name) for name in modules or [str(node.module)])


IMPORTS = list(imports())
OWN = [i for i in IMPORTS if i[2].split(".")[0] == "mitoscale"]
FOREIGN = [i for i in IMPORTS if i[2].split(".")[0] not in {"mitoscale", *sys.stdlib_module_names}]


def home(path: Path) -> str:
    """The part that a file belongs to; the package's own ``__init__`` offers the API and may know everything."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def name_of(path: Path) -> str:
    """The dotted name of a file."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def listed(broken: list[Import]) -> str:
    """Imports that break a rule, one a line."""
    return "\n".join(f"{path.relative_to(PACKAGE.parent)}:{line} imports {name}" for path, line, name in broken)


def test_every_part_has_a_layer() -> None:
    parts = {home(path) for path in PACKAGE.rglob("*.py")}
    assert parts == {part for layer in LAYERS for part in layer}


def test_imports_point_down_and_peers_do_not_know_each_other() -> None:
    depth = {part: i for i, layer in enumerate(LAYERS) for part in layer}
    broken = [
        (path, line, name) for path, line, name in OWN if part_of(name) != home(path) and depth[part_of(name)] <= depth[home(path)]
    ]
    assert not broken, listed(broken)


def test_files_are_short() -> None:
    long = {str(path): n for path in PACKAGE.rglob("*.py") if (n := len(path.read_text(encoding="utf-8").splitlines())) > 300}
    assert not long, f"more than 300 lines: {long}"


def test_no_files_import_each_other_in_a_circle() -> None:
    """Not even inside functions, where a circle would do no harm at first."""
    known = {name_of(path) for path in PACKAGE.rglob("*.py")}
    after: dict[str, set[str]] = {}
    for path, _, name in OWN:
        target = name if name in known else name.rpartition(".")[0]
        if name_of(path) != "mitoscale":  # the package's own __init__ offers the API, whose files may ask for its version
            after.setdefault(name_of(path), set()).add(target)
    left = {name: targets & after.keys() - {name} for name, targets in after.items()}
    while done := {name for name, targets in left.items() if not targets}:
        left = {name: targets - done for name, targets in left.items() if name not in done}
    assert not left, left


@pytest.mark.parametrize("part", CORE_ONLY)
def test_some_parts_know_core_alone(part: str) -> None:
    broken = [i for i in OWN if home(i[0]) == part and part_of(i[2]) not in (part, "core")]
    assert not broken, listed(broken)


@pytest.mark.parametrize("library", HOMES)
def test_a_library_is_imported_at_home_only(library: str) -> None:
    broken = [i for i in FOREIGN if i[2].split(".")[0] == library and home(i[0]) not in HOMES[library]]
    assert not broken, listed(broken)


def test_core_needs_little() -> None:
    broken = [i for i in FOREIGN if home(i[0]) == "core" and i[2].split(".")[0] not in CORE_LIBRARIES]
    assert not broken, listed(broken)


def run_python(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded(code: str) -> set[str]:
    """Top-level modules in memory after some code."""
    # A command's --help leaves with SystemExit; modules are printed last, after what it says.
    report = "print(json.dumps(sorted({m.split('.')[0] for m in sys.modules})))"
    return set(json.loads(run_python(f"import json, sys\n{code}\n{report}").splitlines()[-1]))


def commands() -> list[str]:
    """The command line's commands, as it names them."""
    from mitoscale.cli import _COMMANDS

    return list(_COMMANDS)


def test_importing_the_package_loads_nothing_and_is_quick() -> None:
    assert not loaded("import mitoscale") & {*HEAVY, "pandas", "pydantic", "click"}
    # Processor time beside that of an empty interpreter; the least of three, because the machine may be busy.
    spent = [float(run_python(_TIMED)) for _ in range(3)]
    assert min(spent) < 0.2


_TIMED = "import time; began = time.process_time(); import mitoscale; print(time.process_time() - began)"


def test_the_command_line_loads_nothing_heavy() -> None:
    assert not loaded("import mitoscale.cli") & set(HEAVY)


def test_help_of_every_command_loads_nothing_heavy() -> None:
    lines = ["from mitoscale.cli import main"]
    for arguments in [["--help"], *([name, "--help"] for name in commands())]:
        lines += [
            "try:",
            f"    main({arguments!r})",
            "except SystemExit as stop:",
            "    assert not stop.code, stop.code",
        ]
    assert not loaded("\n".join(lines)) & set(HEAVY)


def test_the_cluster_settings_load_no_dask() -> None:
    assert not loaded("import mitoscale.cluster.clusters, mitoscale.cluster.executor") & {"dask", "distributed"}


def test_help_takes_less_than_a_second() -> None:
    # Processor time of the child: the machine may be busy with something else.
    before = os.times()
    began = time.monotonic()
    run_python("from mitoscale.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass")
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    assert min(spent, time.monotonic() - began) < 1.0


@pytest.mark.parametrize("job", sorted(path.name for path in (PACKAGE.parent / "jobs").glob("*.py")))
def test_a_job_is_a_thin_script(job: str) -> None:
    path = PACKAGE.parent / "jobs" / job
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 20
    done = subprocess.run([sys.executable, str(path), "--help"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


def test_no_two_files_of_tests_have_one_name() -> None:
    """Without packages pytest imports them by their names alone, and stops at the second."""
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert not {name for name in names if names.count(name) > 1}
