"""Every command and every block of Python of README, BUILD.md and docs/ runs, and what stands in backticks exists.

Commands run as a shell reads them, at tiny size: `tests/sandbox.py` has the rule. A page's run in their order in one
folder, where what other pages make is there already. The fast run has, of each tool and kind of its flags, the call
with the fewest flags (but for `COSTLY`), and reads the flags and words of the others as the tool does; with --all every
command runs once, but those of `NOT_RUN`: where it first stands, and of a loop over seeds for the first.
"""

import importlib.util
import itertools
import json
import pkgutil
import re
import tomllib

import pytest
from tensorboard import program

from tests.documentation import (
    PAGES,
    PLACEHOLDER,
    ROOT,
    NotUnderstoodError,
    commands,
    flags_in,
    in_backticks,
    name_of,
    python_blocks,
)
from tests.processes import collect_tests, parse_for_tool
from tests.readme import prepared, shortened
from tests.sandbox import Finished, Materials, Sandbox, kind, read_by

# What is read, and not run: program -> why.
NOT_RUN = {
    "build": "needs a package index: tests/test_wheel.py has it",
    "bash": "continuous integration runs the scripts: it is looked whether they take what they are given",
    "git": "needs a network",
    "mypy": "is of the whole checkout, as continuous integration runs it",
    "pip": "needs a package index: it is looked whether its files and groups are there",
    "pytest": "is what runs this: the tests that are named are collected",
    "ruff": "is of the whole checkout, as continuous integration runs it",
    "source": "is for the shell that it is typed into",
    "tensorboard": "is a server: its flags are read by it, and its folders have events",
    "tensorboard.main": "is a server: its flags are read by it, and its folders have events",
    "venv": "makes an environment, of which pip needs a package index",
    "tools.laboratory.gpu.measure": "needs a GPU",
    "tools.laboratory.gpu.prepare": "fetches a wheel",
    "tools.laboratory.minimum_norm": "compares with PyTorch, which is not here",
    "tools.laboratory.parity": "compares with PyTorch, which is not here",
}
SEVERAL_MACHINES = "--distribution=multi_worker"
# Flags by which a tool does something else; the others change numbers, places and names.
MODES = {"adversaries", "audit", "distribution", "dry_run", "eps_sweep", "help", "knn", "model_file", "norm"}
MODES |= {"saved_model", "tables", "verify"}
# They run with --all alone: a benchmark builds each network in a process of its own, cheap attacks are compared with
# AutoAttack, and others have the like in the fast run: tests/laboratory/test_portable.py, tests/distribution,
# tests/tools/test_visualize.py, test_tools.py.
COSTLY = {"tools.benchmark", "tools.laboratory.cheap_attacks", "tools.laboratory.portable", "portable/run.py"}
COSTLY |= {"tools.visualize tsne"}
COSTLY_MODES = {"audit", "distribution"}
ABSLS = {"help", "helpfull", "helpshort", "flagfile"}
# What commands write beside the checkout's files.
OF_A_USER = {"runs", "report", "portable", "gpu", "found", "peer"}
by_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


@pytest.fixture(scope="session")
def materials(tmp_path_factory):
    """What sandboxes are furnished with."""
    return Materials(tmp_path_factory.mktemp)


@pytest.fixture(scope="session")
def chosen(materials, pytestconfig):
    """The calls that run, a code and a number within it: all, or of each shape the one with the fewest flags."""
    everything, found = pytestconfig.getoption("--all"), {}
    calls = [(call, code, number) for code, calls in materials.calls.items() for number, call in enumerate(calls)]
    for call, code, number in calls if everything else sorted(calls, key=lambda each: len(each[0].flags)):
        if can_run(call) and (everything or not is_costly(call)):
            shape = (kind(call), *sorted(MODES.intersection(call.flags)))
            found.setdefault(but_for_the_seed(call) if everything else shape, (code, number))
    return set(found.values())


def is_costly(call):
    return bool({call.program, kind(call)} & COSTLY or COSTLY_MODES.intersection(call.flags))


def but_for_the_seed(call):
    """Returns what a call has in common with those of its loop's other seeds: no seed, and no folder named by it."""
    words = [re.sub(r"^(--seed=|.*\bruns/.*_)\d+$", r"\1", word) for word in call.words]
    # Without a seed among its loop's rounds, a number may name something else, such as a size.
    rounds_of_seeds = re.search(r"\bfor seed in\b", call.code.text)
    return tuple(words) if rounds_of_seeds else call.words, tuple(sorted(call.environment.items()))


def can_run(call):
    """Returns whether a call can run here: it is of this project, on this machine, and says what it is of."""
    ours = call.program.startswith("tools.") or call.program.endswith(".py")
    several = SEVERAL_MACHINES in call.arguments or "TF_CONFIG" in call.environment
    return ours and call.program not in NOT_RUN and not several and not PLACEHOLDER.search(call.code.text)


@by_page
def test_the_commands_of_a_page_run(page, materials, chosen):
    sandbox, failures, finished = Sandbox(materials), [], []
    for code in commands(page):
        try:
            known = materials.calls.get(code)
            runs = known is None or any((code, number) in chosen for number in range(len(known)))
            for number, call in enumerate(sandbox.calls(code) if runs else known):
                if (call.words, call.environment) in finished:  # a loop's round that is as the one before
                    continue
                finished.append((call.words, call.environment))
                is_run = (code, number) in chosen and can_run(call)
                failure = sandbox.run(call).failure if is_run else misread(call, materials, sandbox)
                if failure:
                    failures.append(f"{code}\n{failure}")
        except NotUnderstoodError as error:
            failures.append(str(error))
    assert not failures, "\n\n".join(failures)


def misread(call, materials, sandbox):
    """Returns what is wrong with a call that does not run, as far as it can be told; None if nothing is."""
    name, arguments = call.program, call.arguments
    if call.environment.get("TF_CONFIG"):
        given = json.loads(call.environment["TF_CONFIG"])
        if given.keys() != {"cluster", "task"}:
            return f"TF_CONFIG has {', '.join(given)} instead of cluster and task"
    if name.startswith("tools.") or name.endswith(".py"):
        return misread_by_our_own(call, materials, sandbox)
    if name in ("bash", "pytest"):
        return misread_by_a_script(arguments, materials) if name == "bash" else uncollected(arguments, materials)
    if name == "pip":
        groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]
        files = [file for before, file in itertools.pairwise(arguments) if before == "-r"]
        missing = [file for file in files if not (ROOT / file).is_file()]
        missing += [group for group in call.values("group") if group not in groups]
        return f"missing: {', '.join(missing)}" if missing else None
    if name.startswith("tensorboard"):
        return without_events(call, sandbox)
    if name == "source":
        return None if arguments[0].endswith("bin/activate") else "what is sourced is not known"
    if "-c" in arguments:
        return None if PLACEHOLDER.search(call.code.text) else "code on a command line is not run: make it a block"
    return None if name in NOT_RUN else f"it is not known whether {name} can be run: add it to NOT_RUN, with a reason"


def misread_by_our_own(call, materials, sandbox):
    is_tool = call.program.startswith("tools.")
    if not (
        is_a_module(call.program) if is_tool else call.program == "portable/run.py" or (ROOT / call.program).is_file()
    ):
        return "there is no such program"
    known = materials.flags(call.program) if is_tool else None
    for path in read_by(call, materials):
        if materials.maker(path) is None and not PLACEHOLDER.search(path):
            return f"no command of any page makes {path}"
    for peer in call.values("peer"):
        program, *options = peer.split()[1:]
        unknown = [flag for flag in flags_in(" ".join(options)) if not names_as_words([ROOT / program], [flag])]
        if unknown:
            return f"{program} has no --{unknown[0]}"
    if known is None or PLACEHOLDER.search(call.code.text) or kind(call).endswith("portable run"):
        files = [*sources(call.program)]
        unknown = [
            flag for flag in call.flags if without_no(flag) not in (known or ()) and not names_as_words(files, [flag])
        ]
        return f"unknown: --{unknown[0]}" if unknown else None
    name = call.program.removeprefix("tools.")
    return Finished(materials.folder("process"), parse_for_tool, sandbox.folder, name, *call.arguments).failure


def sources(name):
    """Yields the files that a program of this project, which has flags of its own, is written in."""
    path = ROOT / (name if name.endswith(".py") else name.replace(".", "/"))
    if name == "portable/run.py" or path.is_dir():
        yield ROOT / "tools" / "laboratory" / "portable" / "run.py"
    else:
        yield path.with_suffix(".py")


def names_as_words(files, names):
    """Returns whether each of these names is a word of one of the files: of programs that cannot be asked."""
    return all(any(re.search(rf"\b{name}\b", file.read_text(encoding="utf-8")) for file in files) for name in names)


def without_no(flag):
    return flag.removeprefix("no")


def misread_by_a_script(arguments, materials):
    path = ROOT / arguments[0]
    if not path.is_file():
        return "there is no such script"
    own = re.findall(r"^ +(--\S+)\) ", path.read_text(encoding="utf-8"), re.MULTILINE)
    rest = [argument for argument in arguments[1:] if argument not in own]
    if not rest:
        return None
    return (
        uncollected(rest, materials) if "-m pytest" in path.read_text(encoding="utf-8") else f"{rest[0]} is not known"
    )


def uncollected(arguments, materials):
    if not any((ROOT / argument.partition("::")[0]).exists() for argument in arguments if "/" in argument):
        arguments = [*arguments, "tests/test_errors.py"]  # few are as good as all
    return Finished(materials.folder("process"), collect_tests, *arguments).failure


def without_events(call, sandbox):
    """Returns which folder a TensorBoard would show nothing of, if there is one; its own parser has the flags."""
    board = program.TensorBoard()
    try:
        board.configure(("tensorboard", *call.arguments))
    except SystemExit:
        return "TensorBoard does not take these flags"
    spec = board.flags.logdir or board.flags.logdir_spec
    sandbox.furnish(call)
    for path in [each.rpartition(":")[2] for each in spec.split(",")]:
        if path == "runs":
            continue
        if not list((sandbox.folder / path).rglob("events.out.*")):
            return f"no events in {path}"
    return None


@by_page
def test_flags_in_backticks_are_of_a_tool(page, materials, pytestconfig):
    tools = [path for path in (ROOT / "tools").rglob("*.py") if "_app.run(" in path.read_text(encoding="utf-8")]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in tools if path.name != "_app.py"]
    of_tools = {name.removesuffix(".__main__"): materials.flags(name.removesuffix(".__main__")) for name in names}
    everywhere = set().union(*of_tools.values()) | {name.replace("_", "-") for name in vars(pytestconfig.option)}
    others = [
        *(ROOT / "tools").glob("*.sh"),
        *(path for path in (ROOT / "tools" / "laboratory").rglob("*.py") if path not in tools),
    ]
    unknown = []
    for code in in_backticks(page):
        first = code.text.split()[0] if code.text.split() else ""
        known = of_tools.get(first, everywhere)
        for flag in flags_in(code.text):
            there = not known.isdisjoint({flag, without_no(flag)}) or flag in ABSLS
            there = there or (first not in of_tools and names_as_words(others, [flag]))
            unknown += [] if there else [f"{code}: --{flag}"]
    assert not unknown, "\n".join(unknown)


@by_page
def test_names_in_backticks_are_of_the_library_or_of_a_tool(page):
    unknown = []
    for code in in_backticks(page):
        for name in re.findall(r"(?<![\w./-])(?:agkd_tf|tools)(?:\.\w+)+(?![\w/])", code.text):
            if not (is_a_module(name) if name.startswith("tools.") else is_importable(name)):
                unknown.append(f"{code}: {name}")
    assert not unknown, "\n".join(unknown)


def is_a_module(name):
    """Returns whether a module of that name can be imported; command lines define flags when they are."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def is_importable(name):
    try:
        return pkgutil.resolve_name(name) is not None
    except (ImportError, AttributeError):
        return False


@by_page
def test_files_in_backticks_are_there(page):
    tops = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")} - OF_A_USER
    missing = []
    for code in in_backticks(page):
        text = re.sub(r"<[^>]*>|\{[^}]*\}", "*", code.text)
        for path in re.findall(r"(?<![\w./:-])\w[^\s,;:()'\"=]*", text):
            path = re.sub(r"\b[A-Z][A-Z_]+\b(?!\.md)", "*", path.rstrip("./"))  # FOLDER, a reader's own
            if path.partition("/")[0] in tops and ("/" in path or "." in path) and not list(ROOT.glob(path)):
                missing.append(f"{code}: {path}")
    assert not missing, "\n".join(missing)


@pytest.mark.parametrize(
    "page",
    # Theirs are looked at in tests/test_readme.py; with --all, tests/test_wheel.py runs those of every page.
    [page for page in PAGES if python_blocks(page) and page.name not in ("README.md", "evaluation.md")],
    ids=name_of,
)
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = prepared("".join(block.text for block in python_blocks(page)))
    for block in python_blocks(page):  # which go on with the names of those before
        exec(compile("\n" * (block.line - 1) + shortened(block.text), page, "exec"), names)
