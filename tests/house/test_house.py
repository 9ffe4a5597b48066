"""The house rules. Each is one test, so that a broken one says which and where."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from pydantic import BaseModel
from support.checkout import ROOT, kept_files

from streamsrv import errors
from streamsrv.config import Config

PACKAGE = ROOT / "streamsrv"
MODULES = sorted(PACKAGE.rglob("*.py"))
TESTS = ROOT / "tests"
SUPPORT = TESTS / "support"

MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 40
MAX_NESTING = 3
NAMES_THAT_SAY_NOTHING = {"utils", "util", "helpers", "helper", "common", "core", "manager", "managers", "misc", "base"}

# Statements, not words: "select a file" in a sentence is fine.
SQL = re.compile(
    r"\b(?:SELECT\b.+\bFROM|INSERT\s+(?:OR\s+\w+\s+)?INTO|REPLACE\s+INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM"
    r"|(?:CREATE|DROP|ALTER)\s+(?:UNIQUE\s+)?(?:TABLE|INDEX|TRIGGER|VIEW)|PRAGMA\s+\w+|BEGIN\s+(?:IMMEDIATE|EXCLUSIVE)"
    r"|ROLLBACK\b|SAVEPOINT\s+\w+)",
    re.DOTALL,
)
REGISTRY_HOST = re.compile(
    r"https?://[^\s/\"']*(?:\bnpmjs\b|\bpypi\b|pythonhosted|registry\.|artifactory|nexus|\bmirrors?\b)|--(?:extra-)?index-url",
    re.IGNORECASE,
)
MACHINE_PATH = re.compile(r"(?<![\w.~}$/-])/(?:work|root|home/\w+|Users/\w+|mnt/\w+|private/tmp)(?:/|\b)")

# A task without a group, and who waits for it instead. One for each file.
TASKS_AWAITED_BY_THEIR_MAKER = {
    "streamsrv/jobs/database.py": "a change is waited for even where its caller was cancelled, in the same function",
    "streamsrv/media/child.py": "a start is waited for even where its caller was cancelled, in the same function",
    "streamsrv/jobs/runner.py": "the task that holds the runner's group; __aexit__ waits for it",
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), str(file))


def nodes() -> Iterator[tuple[str, ast.AST]]:
    """Every node of every module, with where it is."""
    for file in MODULES:
        for node in ast.walk(tree(file)):
            yield f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}", node


def functions() -> Iterator[tuple[str, Function]]:
    for where, node in nodes():
        if isinstance(node, Function):
            yield f"{where} {node.name}", node


@cache
def own_files() -> tuple[Path, ...]:
    return tuple(file for file in kept_files() if not file.is_symlink())


def lines_that_match(pattern: re.Pattern[str]) -> Iterator[str]:
    for file in own_files():
        if file == Path(__file__).resolve():
            continue
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture has no words
        for number, line in enumerate(text.splitlines(), 1):
            if pattern.search(line):
                yield f"{file.relative_to(ROOT)}:{number}: {line.strip()[:100]}"


def test_imports_go_down() -> None:
    """Layers import downwards only, and only those that speak HTTP know aiohttp (the contracts in setup.cfg)."""
    lint = Path(sys.executable).with_name("lint-imports")
    linted = subprocess.run([lint, "--no-cache", "--no-logo"], cwd=ROOT, capture_output=True, check=False, text=True)
    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_training_stays_apart() -> None:
    """The server, its tests and its benches need nothing of training, and training none of their code."""
    found = [
        f"{file.relative_to(ROOT)}:{node.lineno} {name}"
        for file in kept_files("*.py")
        for node, name in imported(file)
        if name.split(".")[0] in ({"streamsrv", "tests", "support", "bench"} if is_training(file) else {"training"})
    ]
    assert found == []


def is_training(file: Path) -> bool:
    return file.is_relative_to(ROOT / "training")


def imported(file: Path) -> Iterator[tuple[ast.Import | ast.ImportFrom, str]]:
    """Each module that a file imports, with the statement that does."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node, node.module or ""


def test_files_are_short() -> None:
    """A file can be read in one sitting."""
    lengths = {file.relative_to(ROOT): len(file.read_text(encoding="utf-8").splitlines()) for file in MODULES}
    assert {file: lines for file, lines in lengths.items() if lines > MAX_FILE_LINES} == {}


def test_functions_are_short() -> None:
    """A function fits on a screen."""
    lengths = {where: (node.end_lineno or 0) - node.lineno + 1 for where, node in functions()}
    assert {where: lines for where, lines in lengths.items() if lines > MAX_FUNCTION_LINES} == {}


def test_nesting_is_shallow() -> None:
    """At most three blocks lie inside each other."""
    depths = {where: nesting(node) for where, node in functions()}
    assert {where: depth for where, depth in depths.items() if depth > MAX_NESTING} == {}


def nesting(node: ast.AST) -> int:
    """The deepest nesting of blocks in a function; a function inside it is counted for itself, elif is no deeper."""
    deepest = 0
    for name, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, Function | ast.ClassDef | ast.Lambda):
                continue
            chained = name == "orelse" and isinstance(node, ast.If) and isinstance(child, ast.If) and len(value) == 1
            deepest = max(deepest, nesting(child) - chained)
    block = isinstance(
        node, ast.If | ast.For | ast.AsyncFor | ast.While | ast.With | ast.AsyncWith | ast.Try | ast.TryStar | ast.Match
    )
    return deepest + block


def test_names_say_something() -> None:
    """No module or folder has a name that fits anything."""
    paths = [path for folder in (PACKAGE, SUPPORT) for path in folder.rglob("*")]
    assert [path.relative_to(ROOT) for path in paths if path.stem in NAMES_THAT_SAY_NOTHING] == []


def test_folders_tell_their_story() -> None:
    """Each package folder has an __init__ whose docstring says what it is."""
    folders = {file.parent for file in MODULES}
    silent = [
        folder.relative_to(ROOT)
        for folder in folders
        if not (folder / "__init__.py").exists() or not ast.get_docstring(tree(folder / "__init__.py"))
    ]
    assert silent == []


def test_modules_have_docstrings() -> None:
    """Each module says in its first line what it holds."""
    files = [*MODULES, *SUPPORT.rglob("*.py")]
    assert [file.relative_to(ROOT) for file in files if not ast.get_docstring(tree(file))] == []


def test_no_sql_in_python() -> None:
    """Statements live in .sql files, where they can be read and tried."""
    found = [
        f"{where}: {node.value[:60]!r}"
        for where, node in nodes()
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.search(node.value)
    ]
    assert found == []


def test_tasks_have_an_owner() -> None:
    """No task is started outside a TaskGroup, whose end is the task's end; each exception has its reason."""
    found = {where for where, node in nodes() if isinstance(node, ast.Call) and starts_bare_task(node.func)}
    assert {where for where in found if where.split(":")[0] not in TASKS_AWAITED_BY_THEIR_MAKER} == set()
    assert len(found) <= len(TASKS_AWAITED_BY_THEIR_MAKER)


def starts_bare_task(called: ast.expr) -> bool:
    if not isinstance(called, ast.Attribute):
        return isinstance(called, ast.Name) and called.id in {"create_task", "ensure_future"}
    owner = ast.unparse(called.value)
    return called.attr == "ensure_future" or (
        called.attr == "create_task" and (owner == "asyncio" or "loop" in owner.lower())
    )


def test_nothing_is_printed() -> None:
    """The server logs; the command line uses click.echo."""
    found = [
        where
        for where, node in nodes()
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert found == []


def test_nothing_is_left_to_the_collector() -> None:
    """Whoever opens closes: no __del__."""
    assert [where for where, node in functions() if node.name == "__del__"] == []


def test_no_foreign_host() -> None:
    """No tracked file names a package registry: where packages come from is the machine's affair."""
    assert list(lines_that_match(REGISTRY_HOST)) == []


def test_no_machine_path() -> None:
    """No tracked file names a path of the machine it was written on."""
    assert list(lines_that_match(MACHINE_PATH)) == []


PROBLEMS = sorted(
    (value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, errors.Problem)),
    key=lambda problem: problem.__name__,
)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_problem_is_one_class_one_sentence_one_status(problem: type[errors.Problem]) -> None:
    """Each problem has a docstring of one sentence, which is its title, and an error's status."""
    sentence = vars(problem).get("__doc__") or ""
    assert re.fullmatch(r"[A-Z][^\n]*\.", sentence)
    assert ". " not in sentence
    assert 400 <= problem.status <= 599
    assert problem().title == sentence


def test_problems_are_told_apart() -> None:
    """No two problems have the same title or slug."""
    assert len({problem().slug for problem in PROBLEMS}) == len(PROBLEMS)
    assert len({problem().title for problem in PROBLEMS}) == len(PROBLEMS)


def default_settings() -> list[str]:
    return (ROOT / "config" / "default.toml").read_text(encoding="utf-8").splitlines()


def test_settings_and_defaults_agree() -> None:
    """Each key of default.toml is a field of Config, and each field has its default there."""
    written = {(section, key) for section, keys in tomllib.loads("\n".join(default_settings())).items() for key in keys}
    typed = set()
    for section, field in Config.model_fields.items():
        assert isinstance(field.annotation, type)
        assert issubclass(field.annotation, BaseModel)
        typed |= {(section, key) for key in field.annotation.model_fields}
    assert written == typed


def test_each_setting_is_explained() -> None:
    """Above each key stands a comment, or a key that shares the comment above both."""
    explained = False
    silent = []
    for line in default_settings():
        if line.startswith("#"):
            explained = True
        elif re.match(r"\w+ *=", line) and not explained:
            silent.append(line)
        elif not re.match(r"\w+ *=|[ \]]", line):
            explained = False  # a section or an empty line ends what a comment was about
    assert silent == []


def test_each_test_states_its_rule() -> None:
    """The docstring of a test is the rule that it proves."""
    silent = [
        f"{file.relative_to(ROOT)}:{node.lineno} {node.name}"
        for folder in ("tests", "training/tests")
        for file in sorted((ROOT / folder).rglob("test_*.py"))
        for node in ast.walk(tree(file))
        if isinstance(node, Function) and node.name.startswith("test_") and not ast.get_docstring(node)
    ]
    assert silent == []


def test_tests_share_by_support_only() -> None:
    """No folder of tests and no test is imported, neither by another one nor by what they share: that is in support."""
    found = [
        f"{file.relative_to(ROOT)}:{node.lineno} {name}"
        for file in sorted(TESTS.rglob("*.py"))
        for node in ast.walk(tree(file))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in imported_names(node)
        if is_in_tests(name)
    ]
    assert found == []


def imported_names(node: ast.Import | ast.ImportFrom) -> list[str]:
    """The modules that an import names; `from a import b` may mean the module a.b."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    module = "." * node.level + (node.module or "")
    return [module, *(f"{module}.{alias.name}" for alias in node.names)]


def is_in_tests(name: str) -> bool:
    """Is it one of the tests' own modules, but for support? Relative, or by way of `tests`, it would have two names.

    The library's `http` has the name of a folder here: what counts is whether the file is there.
    """
    first = name.partition(".")[0]
    if first in ("", "tests"):
        return True
    return first != SUPPORT.name and TESTS.joinpath(*name.split(".")).with_suffix(".py").is_file()


@pytest.mark.parametrize(
    ("line", "is_refused"),
    [
        ("from chaos.test_crash import FLAC", True),
        ("from chaos import test_crash", True),
        ("import http.test_uploads", True),
        ("from conftest import NO_SKIPS", True),
        ("from tests.support.models import FOUR", True),
        ("from . import conftest", True),
        ("from support.models import FOUR", False),
        ("from http.server import ThreadingHTTPServer", False),
        ("from http import HTTPStatus", False),
    ],
)
def test_imports_of_tests_are_known(line: str, is_refused: bool) -> None:
    """The rule above knows an import of a test however it is written, and the library's own `http`."""
    (node,) = ast.parse(line).body
    assert isinstance(node, ast.Import | ast.ImportFrom)
    assert any(map(is_in_tests, imported_names(node))) == is_refused


def test_changes_of_the_schema_are_numbered() -> None:
    """Migrations are numbered from 1 without holes."""
    numbers = sorted(int(file.stem.rsplit("_", 1)[1]) for file in PACKAGE.rglob("schema_*.sql"))
    assert numbers[:1] == [1]
    assert all(later == earlier + 1 for earlier, later in pairwise(numbers))
