"""What is measured on a machine with a GPU: which steps are timed, and which networks are trained and attacked."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tools.laboratory.stablehlo import Platform

ROOT = pathlib.Path(__file__).parents[3]
STUDY = pathlib.Path(__file__).with_name("study.txt")


class Student(NamedTuple):
    """A network that is trained for a share of the time.

    Attributes:
        flags: flags of its recipe.
        teacher: name of the student whose weights it begins with and learns from; None for those of the clean teacher,
            if its defense has one.
        share: its share of the time that a student gets.
    """

    flags: Sequence[str]
    teacher: str | None = None
    share: float = 1.0


class Contents(NamedTuple):
    """What goes into a folder.

    Attributes:
        platform: kind of device that the programs are for.
        peer: flags with which `training_step.py` times the same step as the recipes in `timing`.
        timing: name -> flags of a recipe to time; those in which it differs from the published AGKD-BML on CIFAR-10.
        students: name -> student, with such flags; a student's teacher comes before it.
        last: name and such flags of the recipe that is trained in the time that is left.
        teacher_epochs, epochs: possible lengths of the trainings, increasing.
        evaluations: (attack, number of test images), in the order in which they are run.
        batch_size: test images per batch of an evaluation.
        matrix: number of rows of the matrices whose product is timed.
        rounds, repeat: turns that each timed program takes, and steps per turn.
        study: name -> flags of a recipe that is trained as it is.
        study_evaluations: as `evaluations`, for the study.
    """

    platform: Platform
    peer: Sequence[str]
    timing: Mapping[str, Sequence[str]]
    students: Mapping[str, Student]
    last: tuple[str, Sequence[str]]
    teacher_epochs: Sequence[int]
    epochs: Sequence[int]
    evaluations: Sequence[tuple[str, int]]
    batch_size: int
    matrix: int
    rounds: int
    repeat: int
    study: Mapping[str, Sequence[str]]
    study_evaluations: Sequence[tuple[str, int]]


AT = (f"--flagfile={ROOT / 'flags/cifar10/at.flags'}",)
PGD_10 = ("--attack_steps=10", "--attack_step_size=2/255")
N_FGSM = ("--attack_steps=1", "--attack_step_size=8/255", "--start_radius=16/255", "--noclip_to_ball")
BFLOAT16 = "--mixed_precision=bfloat16"
ONE_CYCLE = ("--schedule=one_cycle", "--decay_epochs=", "--sgd=pytorch", "--weight_decay=0.0005")


def full() -> Contents:
    """Returns the contents for the real measurements."""
    small = ("--model=preact-resnet-18", *ONE_CYCLE, "--learning_rate=0.2", BFLOAT16)
    network = "preact-resnet-18"
    return Contents(
        platform="GPU",
        peer=("--depth=28", "--width=10", "--batch_size=128", "--attack_steps=2"),
        timing={
            precision: ("--train_examples=1280", f"--mixed_precision={precision}")
            for precision in ("float32", "bfloat16")
        },
        students={
            f"{network}, n_fgsm": Student((*AT, *small, *N_FGSM)),
            f"{network}, at, 10 steps": Student((*AT, *small, *PGD_10)),
            f"{network}, agkd_bml, 2 steps": Student(small),
            f"{network}, n_fgsm, the next one's teacher": Student((*AT, *small, *N_FGSM), share=0.5),
            f"{network}, agkd_bml, robust teacher": Student(
                (*small, *N_FGSM, "--learning_rate=0.1", "--notargeted", "--label_smoothing=0"),
                teacher=f"{network}, n_fgsm, the next one's teacher",
                share=0.5,
            ),
        },
        last=("wrn-28-10, agkd_bml, 2 steps", ("--schedule=one_cycle", BFLOAT16)),
        teacher_epochs=(1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30),
        epochs=(*range(1, 21), *range(22, 41, 2), 45, 50, 55, 60),
        evaluations=(("clean", 10000), ("pgd-20", 10000), ("autoattack", 1000)),
        batch_size=250,
        matrix=8192,
        rounds=5,
        repeat=8,
        study=read_study(STUDY),
        study_evaluations=(("clean", 10000), ("pgd-20", 1000), ("cw-20", 1000), ("autoattack", 1000)),
    )


def tiny() -> Contents:
    """Returns the contents for the rehearsal."""
    # On a CPU, JAX 0.11 computes NaN for networks in bfloat16, so the rehearsal only times bfloat16.
    step = ("--model=wrn-10-1", "--train_examples=64", "--validation_examples=32", "--batch_size=16")
    small = (*step, *ONE_CYCLE)
    study = (*small, "--epochs=1")
    return Contents(
        platform="CPU",
        peer=("--depth=10", "--width=1", "--batch_size=16", "--attack_steps=2", "--repeat=2"),
        timing={precision: (*step, f"--mixed_precision={precision}") for precision in ("float32", "bfloat16")},
        students={
            "wrn-10-1, at": Student((*AT, *small, *N_FGSM)),
            "wrn-10-1, agkd_bml": Student(small),
            "wrn-10-1, agkd_bml, robust teacher": Student(small, teacher="wrn-10-1, at", share=0.5),
        },
        last=("the last, agkd_bml", small),
        teacher_epochs=(1, 2),
        epochs=(1, 2),
        evaluations=(("clean", 100), ("pgd-3", 100), ("cw-3", 40)),
        batch_size=20,
        matrix=512,
        rounds=3,
        repeat=2,
        study={
            "at": (AT[0], *study, *N_FGSM),
            "at_1": (AT[0], *study, *N_FGSM, "--seed=1"),
            "agkd_bml": (*study, "--teacher_epochs=1"),
        },
        study_evaluations=(("clean", 100), ("pgd-3", 40)),
    )


def read_study(path: pathlib.Path) -> dict[str, list[str]]:
    """Reads the lines of a study; returns a dict of name -> flags of the recipe.

    A line is a name, a colon, the path of a flagfile from the project's root, and further flags. A line with `{seed}`
    stands for three, with 0, 1 and 2 in its place.
    """
    found: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            name, _, text = line.partition(": ")
            flagfile, *more = text.split()
            for seed in range(3) if "{seed}" in line else range(1):
                values = [f"--flagfile={ROOT / flagfile}", *more]
                found[name.format(seed=seed)] = [value.format(seed=seed) for value in values]
    return found
