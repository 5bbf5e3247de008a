"""Dependencies run one way: the imports of every file are walked and held against architecture.md's arrows.

An import counts wherever it stands, inside a function too. Under `TYPE_CHECKING` it does not: types point both ways.
"""

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# A part is a package or a set of root modules. Every root module of tsfm has its part here: a new one must choose.
ROOT_MODULES = {
    "errors": {"errors"},
    "registry": {"registry"},
    "core": {
        "panel",
        "batch",
        "prediction",
        "quantile_curve",
        "options",
        "progress",
        "layouts",
        "plotting",
        "rendering",
        "tabular",
    },
    "forecaster": {
        "account",
        "adapter_files",
        "forecaster",
        "batching",
        "catalogue",
        "checkpoints",
        "conditioning",
        "conformal",
        "covariate_features",
        "covariate_head",
        "covariate_models",
        "costs",
        "gluonts_predictor",
        "imputed",
        "imputed_plot",
        "imputing",
        "inference",
        "leaks",
        "loading",
        "official",
        "other_variates",
        "packing",
        "streaming",
        "views",
    },
}
PACKAGES = {
    *("kernels", "nn", "models", "data", "training", "evaluation", "finetuning", "scaling"),
    *("cli", "demo", "pretrained"),
}

# What each part may import beside itself. `api` is `import tsfm`, the public names.
BELOW = {"errors", "registry", "core"}
MAY_IMPORT = {
    "errors": set(),
    "registry": {"errors"},
    "kernels": {"errors"},
    "core": {"errors", "registry"},
    "demo": {"errors"},
    "nn": {"errors", "kernels"},
    "models": {"errors", "registry", "core", "kernels", "nn"},
    "data": {*BELOW, "datasets_registry"},
    "forecaster": {*BELOW, "data", "kernels", "models", "nn", "pretrained"},
    "training": {*BELOW, "data", "datasets_registry", "forecaster", "kernels", "models", "nn"},
    "evaluation": {*BELOW, "data", "datasets_registry", "forecaster", "kernels", "models", "nn"},
    "finetuning": {
        *BELOW,
        *("data", "datasets_registry", "forecaster", "kernels", "models", "nn", "training", "evaluation"),
    },
    "scaling": {*BELOW, "data", "datasets_registry", "forecaster", "kernels", "models", "nn", "training"},
    "api": {*BELOW, "data", "datasets_registry", "forecaster", "training", "evaluation", "finetuning"},
    "cli": {*BELOW, *PACKAGES, "api", "datasets_registry", "forecaster"},
    "datasets_registry": set(),
}

# The way back, each with its reason.
EXCEPTIONS: dict[tuple[str, str], str] = {}


def python_files() -> list[Path]:
    return sorted(path for folder in ("tsfm", "datasets_registry") for path in (ROOT / folder).rglob("*.py"))


def part_of(module: str) -> str | None:
    """The part a dotted name belongs to, None for anything that is not ours."""
    root, *rest = module.split(".")
    if root == "datasets_registry":
        return "datasets_registry"
    if root != "tsfm":
        return None
    if not rest:
        return "api"
    if rest[0] in PACKAGES:
        return rest[0]
    return next((part for part, names in ROOT_MODULES.items() if rest[0] in names), f"tsfm.{rest[0]}: no part")


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def guards_types(node: ast.AST) -> bool:
    """Whether a node is `if TYPE_CHECKING:`."""
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def imported(tree: ast.AST) -> set[str]:
    """Dotted names of the modules that a file imports; `from tsfm import kernels` is `tsfm.kernels`."""
    found: set[str] = set()
    for node in ast.iter_child_nodes(tree):
        if guards_types(node):
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import; write the whole name"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if is_module(name) else str(node.module) for name in inner}
        found |= imported(node)
    return found


def test_every_root_module_belongs_to_a_part():
    placed = set().union(*ROOT_MODULES.values())
    there = {path.stem for path in (ROOT / "tsfm").glob("*.py")} - {"__init__"}
    assert there <= placed, f"add to ROOT_MODULES: {sorted(there - placed)}"
    assert {path.parent.name for path in (ROOT / "tsfm").glob("*/__init__.py")} <= PACKAGES


@pytest.mark.parametrize("path", python_files(), ids=module_name)
def test_a_file_imports_only_what_lies_below_it(path: Path):
    part = part_of(module_name(path))
    assert part is not None
    for name in imported(ast.parse(path.read_text())):
        target = part_of(name)
        if target is None or target == part or (module_name(path), name) in EXCEPTIONS:
            continue
        assert target in MAY_IMPORT[part], f"{path.relative_to(ROOT)} ({part}) imports {name} ({target})"


def test_the_exceptions_are_still_needed():
    for importer, name in EXCEPTIONS:
        path = next(path for path in python_files() if module_name(path) == importer)
        assert name in imported(ast.parse(path.read_text())), f"{importer} no longer imports {name}: drop the exception"


def test_the_data_registry_needs_nothing_but_the_standard_library():
    for path in (ROOT / "datasets_registry").rglob("*.py"):
        for name in imported(ast.parse(path.read_text())):
            root = name.split(".")[0]
            assert root in sys.stdlib_module_names or root == "datasets_registry", f"{path.name} imports {name}"


def test_only_kernels_branch_on_the_device():
    """A model or layer that asks for CUDA decides what `tsfm.kernels` decides."""
    for folder in ("models", "nn"):
        for path in (ROOT / "tsfm" / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.If | ast.IfExp | ast.While):
                    asked = ast.unparse(node.test)
                    found = re.search(r"is_cuda|cuda\.is_available|device\.type|device ==", asked)
                    assert found is None, (
                        f"{path.relative_to(ROOT)}:{node.lineno} branches on {asked}: do so in kernels"
                    )
