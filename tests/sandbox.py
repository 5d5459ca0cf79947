"""Where documented commands run: a folder with the checkout's files, and small runs wherever a command expects one."""

import contextlib
import dataclasses
import functools
import json
import pathlib
import re
import shutil

from agkd_tf.export import export_state_dict
from agkd_tf.models import build_model
from tests.documentation import PAGES, ROOT, Code, NotUnderstoodError, Shell, commands
from tests.mocked import prepare_mocked
from tests.processes import (
    Process,
    print_flags,
    run_file_in,
    run_tool_in,
    run_tool_with_forked_workers,
    server_address,
)

CHECKOUT = ("agkd_tf", "docs", "flags", "tests", "tools")
QUICKSTART = ROOT / "tools" / "quickstart.sh"
OUTPUTS = ("output", "record", "adversaries")  # flags of what a command writes
MAKES_ITS_WORKDIR = ("tools.train", "tools.laboratory.portable")
IMAGES = {"cifar10": (200, 80), "svhn_cropped": (200, 80), "cifar100": (400, 100)}  # of mocked sets: training, test

TRAINING = ("--model=tiny", "--train_examples=64", "--validation_examples=20", "--batch_size=16", "--epochs=1")
RECIPE = (*TRAINING, "--decay_epochs=", "--validation_attack_steps=1")
# Appended to a command, so that it takes seconds: the last of two values counts. Networks and images shrink, and each
# thing is done once or on a few images; what is done, and in which way, stays as the page says, but for the
# pictures that a training draws.
SMALL = {
    "tools.train": (*RECIPE, "--panel_every=0"),
    "tools.evaluate": ("--num_examples=8", "--batch_size=8", "--audit_examples=20"),
    "tools.benchmark training": (*TRAINING, "--rounds=1", "--steps=1"),
    "tools.benchmark inference": ("--batch_size=8", "--rounds=1", "--steps=1"),
    "tools.visualize attention": ("--num_examples=60", "--batch_size=20"),
    "tools.visualize tsne": (
        "--num_examples=60",
        "--clean_per_class=3",
        "--adversaries_per_class=3",
        "--neighbors=5",
        "--batch_size=60",
    ),
    # The programs are for a GPU otherwise.
    "tools.laboratory.portable export": (*TRAINING, "--decay_epochs=", "--evaluation_batch_size=8", "--platform=CPU"),
    "tools.laboratory.portable run": ("--num_examples=8",),
    "tools.laboratory.cheap_attacks": ("--num_examples=2", "--attacks=apgd-ce,malt-1"),  # beside AutoAttack
    "tools.laboratory.search": ("--seeds=0", "--attacks=clean"),
    "portable/run.py": ("--num_examples=8",),
}


def kind(call):
    """Returns a call's program, with its first word where it is of several kinds."""
    words = [word for word in call.arguments[:1] if re.fullmatch("[a-z]+", word)]
    return " ".join([call.program, *words]) if call.program.startswith("tools.") else call.program


def small_attack(name):
    """Returns the name of an attack that does the same in 2 steps; AutoAttack, which an estimate has, is one part."""
    if name.startswith("transfer:"):
        return name
    name = re.sub(r"^autoattack(-rand)?$", "apgd-ce", name)
    return re.sub(r"(?<=[a-z]-)\d+", "2", name)


def small_arguments(call, known, data):
    """Returns a call's arguments, for less work.

    Args:
        call: the `Call`.
        known: names of the tool's flags.
        data: folder where data sets are prepared.
    """
    words = list(call.arguments)
    if call.program == "tools.benchmark":  # the first of many recipes, each of which takes new interpreters
        what, *paths = [word for word in words if not word.startswith("--")]
        # A peer needs PyTorch.
        words = [
            what,
            *paths[:1],
            *(word for word in words if word.startswith("--") and not word.startswith("--peer=")),
        ]
    found = []
    for word in words:
        name, _, value = word.partition("=")
        if name in ("--attacks", "--attack", "--sweep_attack", "--transfer_attack"):
            attacks = dict.fromkeys(small_attack(each) for each in value.split(","))
            word = f"{name}={','.join(attacks)}"
        found.append(word)
    found += SMALL.get(kind(call), ())
    if any(value.endswith(".keras") for value in call.values("model")):
        found = [word for word in found if word != "--model=tiny"]
    if "data_dir" in known and not kind(call).endswith("portable run"):  # which has no flags of absl
        found += ["--nodownload", f"--data_dir={data}"]
    return found


class Finished:
    """A function's process that has ended: `returncode`, `stdout`, `stderr`."""

    def __init__(self, folder, function, *arguments, environment=None):
        process = Process(folder, function, *map(str, arguments), environment=environment)
        try:
            process.wait(900)
        finally:
            process.kill()
        self._expected = 1 if {"--help", "--helpfull"} & {*arguments} else 0  # as absl has it
        self.returncode, self.stdout, self.stderr = process.returncode, process.stdout, process.stderr

    @property
    def failure(self):
        """What went wrong; None if nothing."""
        if self.returncode == self._expected and "Traceback" not in self.stderr:
            return None
        return f"exit code {self.returncode}\n{self.stderr or self.stdout[-2000:]}"


class Materials:
    """What sandboxes are furnished with, each made when it is first asked for: flags, data sets, trained runs.

    Args:
        folder: returns a new folder of a name.
    """

    def __init__(self, folder):
        self.folder, self._runs, self._flags = folder, {}, {}

    def flags(self, tool):
        """Returns the names of the flags of `tools.X`; None for one that has other than absl's."""
        if tool not in self._flags:
            path = ROOT / f"{tool.replace('.', '/')}.py"
            path = path if path.exists() else path.with_suffix("") / "__main__.py"
            if "_app.run(" in path.read_text(encoding="utf-8"):
                module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                done = Finished(self.folder("flags"), print_flags, module)
                assert done.failure is None, done.failure
                self._flags[tool] = set(json.loads(done.stdout))
            else:
                self._flags[tool] = None
        return self._flags[tool]

    @functools.cached_property
    def data(self):
        """Folder with mocked data sets."""
        folder = self.folder("data")
        text = "".join(code.text for code in all_commands())
        for name, sizes in IMAGES.items():
            if name == "cifar10" or re.search(rf"(flags/|--dataset=){name.partition('_')[0]}\b", text):
                prepare_mocked(name, folder, sizes=sizes)
        return folder

    @functools.cached_property
    def checkpoint(self):
        """A file with a small network's weights as PyTorch names them, for CIFAR-10."""
        path = self.folder("checkpoint") / "weights.safetensors"
        export_state_dict(build_model("wrn-10-1", image_shape=(32, 32, 3), num_classes=10), path)
        return path

    @functools.cached_property
    def calls(self):
        """Command -> its calls, of all pages, as far as they can be had where no files are."""
        folder = self.folder("nothing")
        return calls_of(Shell(folder, self.folder("tools")), all_commands())

    @functools.cached_property
    def makers(self):
        """Folder -> the `Call` that makes it, of all that the quickstart, the recipes' headers and the pages have."""
        folder = self.folder("nothing")
        (folder / "runs" / "quickstart").mkdir(parents=True)
        script = QUICKSTART.read_text(encoding="utf-8").partition('_setup.sh"\n')[2].partition("\ncat <<END")[0]
        codes = [Code(QUICKSTART.name, 1, script, before="PYTHON=python")]
        for recipe in sorted(ROOT.glob("flags/*/*.flags")):
            for command in re.findall("^# run: (.*)$", recipe.read_text(encoding="utf-8"), re.MULTILINE):
                codes.append(Code(recipe.name, 2, command))
        found = {}
        for calls in [*calls_of(Shell(folder, self.folder("tools")), codes).values(), *self.calls.values()]:
            for call in calls:
                for made in written_by(call):
                    found.setdefault(made, call)
        return found

    def maker(self, path):
        """Returns the folder among `makers` that a path, or the pattern of one, is or is in; None if there is none."""
        whole = pathlib.PurePath(path)
        made = next((each for each in map(str, (whole, *whole.parents)) if each in self.makers), None)
        if made is None and "*" in path:
            made = next((each for each in self.makers if each.startswith(f"{whole.parent}/")), None)
        return made

    def run_of(self, call):
        """Returns the folder of a run like that which a `Call` of `tools.train` makes, evaluated; it is to be copied.

        Three are trained: what defense a run has hardly matters to who reads it.
        """
        text = " ".join(call.arguments)
        dataset = "digits" if "digits" in text else "cifar10"
        defense = "at" if dataset == "digits" and re.search(r"\bat\b", text) else "agkd_bml"
        if (dataset, defense) not in self._runs:
            folder = self.folder("trained") / "run"
            workdir, data = f"--workdir={folder}", ("--nodownload", f"--data_dir={self.data}")
            recipe = f"--flagfile=flags/{dataset}/{defense}.flags"
            self._must(run_tool_in, ROOT, "train", recipe, workdir, *SMALL["tools.train"], *data)
            for run in (folder, folder / "teacher") if defense == "agkd_bml" else (folder,):
                evaluation = (f"--workdir={run}", "--attacks=clean,fgsm", *SMALL["tools.evaluate"], *data)
                self._must(run_tool_in, ROOT, "evaluate", *evaluation)
            self._runs[dataset, defense] = folder
        folder = self._runs[dataset, defense]
        return folder / "teacher" if re.search(r"\b(undefended|teacher|source_\w+)\b", text) else folder

    def _must(self, function, *arguments):
        done = Finished(self.folder("process"), function, *arguments)
        assert done.failure is None, done.failure


def all_commands():
    """Returns the commands of all pages that are understood; a page's own test meets what is not."""
    found = []
    for page in PAGES:
        with contextlib.suppress(NotUnderstoodError):
            found += commands(page)
    return found


def calls_of(shell, codes):
    """Returns command -> its calls, of those that a shell takes."""
    found = {}
    for code in codes:
        with contextlib.suppress(NotUnderstoodError):  # which the page's own test meets, too
            found[code] = shell.calls(code, missing=True)
    return found


def written_by(call):
    """Yields the folders that a call makes."""
    if kind(call) == "tools.visualize tsne" and not call.values("output"):
        yield "runs/tsne"
    if call.program == "tools.export" and not call.values("output"):
        yield from (f"{workdir}/saved_model" for workdir in call.values("workdir"))
    if call.program.startswith("tools."):
        for name in (*OUTPUTS, *(["workdir"] if call.program in MAKES_ITS_WORKDIR else [])):
            yield from call.values(name)


class Sandbox:
    """A folder where one page's commands run, in their order.

    Args:
        materials: `Materials`.
    """

    def __init__(self, materials):
        self._materials = materials
        self.folder = materials.folder("sandbox")
        for path in [*(ROOT / name for name in CHECKOUT), *ROOT.glob("*.*")]:
            if not path.name.startswith("."):
                (self.folder / path.name).symlink_to(path)
        self._shell, self._copies = Shell(self.folder, materials.folder("tools")), set()

    def calls(self, code):
        """Returns the calls of a command, for which the files are there that it names by a pattern."""
        for folder, pattern in re.findall(r"(runs(?:/[\w-]+)+)/(\*[.\w]*)", code.text):
            if not list(self.folder.glob(f"{folder}/{pattern}")):
                self._supply_some(folder, pattern, code)
        return self._shell.calls(code)

    def run(self, call):
        """Runs a call with less work, and what it reads there; returns a `Finished`."""
        self.furnish(call)
        for made in self._copies.intersection(written_by(call)):  # a run of other settings, which cannot go on
            shutil.rmtree(self.folder / made)
            self._copies.remove(made)
        process, where = self._materials.folder("process"), {"environment": call.environment}
        if not call.program.startswith("tools."):
            arguments = (*call.arguments, *SMALL.get(call.program, ()))
            return Finished(process, run_file_in, self.folder, call.program, *arguments, **where)
        if call.program == "tools.laboratory.search":  # whose settings are in a file
            (self.folder / "trials.txt").write_text(f"all: {' '.join(RECIPE)}\n.\n")
            words = ["trials.txt" if word.endswith(".txt") else word for word in call.words]
            call = dataclasses.replace(call, words=tuple(words))
        known = self._materials.flags(call.program) or ()
        arguments = small_arguments(call, known, self._materials.data)
        if call.program == "tools.import_weights":  # of a published file, which needs PyTorch, or a large one
            published = f"--checkpoint={self._materials.checkpoint}"
            arguments = [word if not word.endswith((".pt", ".npy")) else published for word in arguments]
        name = call.program.removeprefix("tools.")
        if name == "benchmark":  # its new interpreters are tested in tests/benchmark and tests/tools/test_benchmark.py
            arguments = (server_address(), name, *arguments)
            return Finished(process, run_tool_with_forked_workers, self.folder, *arguments, **where)
        return Finished(process, run_tool_in, self.folder, name, *arguments, **where)

    def furnish(self, call):
        """Puts what a call reads in its place, where no command before has.

        Raises:
            NotUnderstoodError: for what no page's command makes.
        """
        for path in read_by(call, self._materials):
            if not list(self.folder.glob(path)):
                self._supply(path, call.code)

    def _supply(self, path, code):
        made = self._materials.maker(path)
        if made is None:
            raise NotUnderstoodError(f"{code}\nno command of any page makes {path}")
        maker, place = self._materials.makers[made], self.folder / made
        if place.exists():
            raise NotUnderstoodError(f"{code}\n{path} is not there after {maker.code}")
        if maker.program == "tools.train":
            shutil.copytree(self._materials.run_of(maker), place)
            self._copies.add(made)
            return
        failure = self.run(maker).failure
        if failure:
            raise NotUnderstoodError(f"{code}\nreads what {maker.code} makes: {failure}")

    def _supply_some(self, folder, pattern, code):
        """Puts two runs, or what else is made there, into a folder whose files a command names by a pattern."""
        within = [made for made in self._materials.makers if made.startswith(f"{folder}/")]
        if pattern != "*" or not within:
            within = [folder]
        for made in sorted(within, key=lambda made: pathlib.PurePath(made).name not in ("at", "agkd_bml"))[:2]:
            self._supply(made, code)


def read_by(call, materials):
    """Yields the files and folders that a call reads and commands make, patterns among them."""
    written = set(written_by(call))
    for word in call.arguments:
        text = word.partition("=")[2] if word.startswith("-") else word
        for path in re.findall(r"(?<![\w/.-])[\w.-]+(?:/[\w.*-]+)*", text):
            if path not in written and (path.startswith("runs/") or materials.maker(path)):
                yield path
