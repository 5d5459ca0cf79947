"""Reads the folder that travels to the machine with the GPU, and makes portable folders of it there."""

import gzip
import hashlib
import importlib.util
import json
import pathlib
import re
import shutil
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from tools.laboratory.gpu.errors import MeasureError
from tools.laboratory.gpu.records import decode, features, records

Entry = dict[str, Any]


class Prepared:
    """The folder that `prepare` wrote, and what is made of it on this machine.

    Args:
        path: the folder.
        work: folder for what is made here: images, portable folders and their results.

    Attributes:
        plan: what is to be measured.
        run: the module `run` that was exported with the recipes.
    """

    def __init__(self, path: pathlib.Path, work: pathlib.Path) -> None:
        self.path, self._work = path.resolve(), work.resolve()
        try:
            self.plan: Entry = json.loads((self.path / "plan.json").read_text())
        except (OSError, ValueError) as error:
            raise MeasureError(
                f"{path} has no readable plan.json: `python -m tools.laboratory.gpu.prepare --output={path}` makes one"
            ) from error
        spec = importlib.util.spec_from_file_location("portable_run", self.path / "run.py")
        if spec is None or spec.loader is None:
            raise MeasureError(f"{self.path / 'run.py'} is not a Python file")
        self.run: Any = importlib.util.module_from_spec(spec)
        sys.modules["portable_run"] = self.run
        spec.loader.exec_module(self.run)

    def make_arrays(self) -> None:
        """Decodes the arrays of images from the records, and copies the other arrays beside them."""
        arrays = self._work / "arrays"
        arrays.mkdir(parents=True, exist_ok=True)
        for source in (self.path / "arrays").iterdir():
            if not (arrays / source.name).exists():
                shutil.copy(source, arrays / source.name)
        missing = {digest: entry for digest, entry in self.plan["images"].items() if not (arrays / digest).exists()}
        for split in sorted({entry["split"] for entry in missing.values()}):
            pictures = [
                features(record)["image"]
                for name in self.plan["records"][split]
                for record in records(gzip.decompress((self.path / "records" / name).read_bytes()))
            ]
            images = decode(pictures, self.path / "decoder")
            for digest, entry in missing.items():
                if entry["split"] == split:
                    rows = np.frombuffer((self.path / "arrays" / entry["rows"]).read_bytes(), np.int32)
                    content = images[rows].tobytes()
                    if hashlib.sha256(content).hexdigest() != digest:
                        raise MeasureError(
                            f"images of the {split} split are decoded differently here than by TensorFlow"
                        )
                    draft = arrays / f".{digest}"
                    draft.write_bytes(content)
                    draft.replace(arrays / digest)

    def folder(self, name: str, *, lengths: Mapping[str, int] | None = None, rates: Entry | None = None) -> Any:
        """Makes a portable `Folder` and returns it.

        Args:
            name: name of the exported folder.
            lengths: stage -> epochs; those that were exported if not given.
            rates: stage -> epochs -> entry of the learning rates.
        """
        source = self.path / "folders" / name
        made = self._work / "_".join([name, *map(str, (lengths or {}).values())])
        (made / "programs").mkdir(parents=True, exist_ok=True)
        description = json.loads((source / "portable.json").read_text())
        text = (source / "recipe.flags").read_text()
        if lengths is not None and rates is not None:
            text = with_lengths(description, text, lengths, rates)
        (made / "recipe.flags").write_text(text)
        (made / "portable.json").write_text(json.dumps(description, indent=1) + "\n")
        for program, digest in description["programs"].items():
            _link(self.path / "programs" / f"{digest}.mlir.gz", made / "programs" / f"{program}.mlir.gz")
        _link(self._work / "arrays", made / "arrays")
        return self.run.Folder(made)


def _link(target: pathlib.Path, place: pathlib.Path) -> None:
    place.unlink(missing_ok=True)
    place.symlink_to(target)


def with_lengths(description: Entry, text: str, lengths: Mapping[str, int], rates: Mapping[str, Entry]) -> str:
    """Sets the numbers of epochs in a description; returns the text of its recipe with the same numbers.

    Args:
        description: the description of a portable folder, which is changed in place.
        text: the text of its recipe.
        lengths: stage -> epochs; of stages that the folder has not, without effect.
        rates: stage -> epochs -> entry of the learning rates.
    """
    for stage in description["stages"]:
        epochs = lengths[stage["name"]]
        stage["epochs"], stage["learning_rates"] = epochs, rates[stage["name"]][str(epochs)]
        name = {"teacher": "teacher_epochs", "student": "epochs"}[stage["name"]]
        text, count = re.subn(rf"(?m)^--{name}=\d+$", f"--{name}={epochs}", text)
        assert count == 1, f"the recipe says --{name} {count} times"
    description["recipe_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    return text


def check_device(prepared: Prepared, device: Any) -> None:
    """Checks that the programs can run on a device (a `Device` of the module `run`).

    Raises:
        MeasureError: if the programs are for a GPU and there is none.
    """
    found = device.described()["accelerators"]
    if prepared.plan["platform"] == "GPU" and not found:
        raise MeasureError(
            "JAX finds no GPU here, and the programs are for one; `prepare --tiny` makes programs for a CPU"
        )
