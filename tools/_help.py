"""What `--help` prints: a tool's flags by what they belong to, or what one defense takes."""

import inspect
import sys

from absl import flags

from agkd_tf.defenses import DEFENSES
from agkd_tf.settings import describe, settings_of
from agkd_tf.training import default_hyperparameters

ASKS = ("--help", "-help", "--helpshort", "-helpshort", "-?", "--?")


def help_text(argv: list[str], flag_values: flags.FlagValues = flags.FLAGS) -> str | None:
    """Returns what is printed for these arguments; None where they do not ask for help.

    Args:
        argv: the command line. With `--defense=NAME` in it, the help is of that defense.
        flag_values: the tool's flags.
    """
    if not set(argv) & set(ASKS):
        return None
    chosen = [each.partition("=")[2] for each in argv if each.startswith("--defense=")]
    if "defense" in flag_values and chosen and chosen[-1] in DEFENSES:
        return _of_defense(chosen[-1])
    tool = sys.argv[0]
    # What is called like a module is of absl or TensorFlow.
    groups = [group for group in flag_values.flags_by_module_dict() if group not in {*sys.modules, tool}]
    texts = [flag_values.module_help(group).strip() for group in [tool, *groups]]
    texts[0] = texts[0].replace(f"{tool}:", "this tool:", 1)
    document = sys.modules["__main__"].__doc__ or ""
    return "\n\n".join([document.strip(), *texts, "Try --helpfull for the flags of absl and TensorFlow, too."])


def _of_defense(name: str) -> str:
    defense = DEFENSES[name]
    summary = inspect.cleandoc(defense.__doc__ or "").splitlines()[0]
    settings = [setting for key, setting in settings_of(defense).items() if key in default_hyperparameters(name)]
    lines = [f"  --{line}" for line in describe(settings).splitlines()]
    return "\n".join([f"--defense={name}: {summary}", "", "It takes:", *lines, "", "Try --help alone for all flags."])
