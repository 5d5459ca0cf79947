"""The text of `--help`: a tool's flags grouped by topic, or the flags of one defense."""

import inspect
import re
import shutil
import sys
import textwrap

from absl import flags

from agkd_tf.defenses import DEFENSES
from agkd_tf.settings import describe, settings_of
from agkd_tf.training import default_hyperparameters

ASKS = ("--help", "-help", "--helpshort", "-helpshort", "-?", "--?")
OWN = "this tool"  # heading of the flags without a group
WIDEST = 120


def help_text(argv: list[str], flag_values: flags.FlagValues = flags.FLAGS) -> str | None:
    """Returns the help text for a command line, or None if it does not ask for help.

    Args:
        argv: the command line. If it contains `--defense=NAME`, the help is about that defense.
        flag_values: the tool's flags.
    """
    if not set(argv) & set(ASKS):
        return None
    chosen = [each.partition("=")[2] for each in argv if each.startswith("--defense=")]
    if "defense" in flag_values and chosen and chosen[-1] in DEFENSES:
        return _of_defense(chosen[-1], flag_values)
    groups: dict[str, list[flags.Flag]] = {OWN: []}
    for module, members in flag_values.flags_by_module_dict().items():
        # Groups named like a loaded module are those of absl or TensorFlow.
        if module == sys.argv[0] or module not in sys.modules:
            groups.setdefault(OWN if module == sys.argv[0] else module, []).extend(members)
    texts = []
    for group, members in groups.items():
        entries = [_described(each, flag_values) for each in sorted(members, key=lambda flag: flag.name)]
        texts += ["\n".join([_filled(f"{group}:", ""), *entries])] if entries else []
    document = sys.modules["__main__"].__doc__ or ""
    return "\n\n".join([document.strip(), *texts, "Use --helpfull to see the flags of absl and TensorFlow, too."])


def _described(flag: flags.Flag, flag_values: flags.FlagValues) -> str:
    """Returns a flag's name, help, allowed values and default, as lines that fit the terminal."""
    # absl prefixes the help of an enum flag with <one|or|another>.
    text = re.sub(r"^<[^>]*>:", "", flag.help or "").strip().rstrip(".") + "."
    text = _with_flags(text, flag_values)
    if isinstance(flag, flags.EnumFlag):
        text += f" One of {', '.join(flag.parser.enum_values)}."
    if flag.default not in (None, "", [], ()):
        default = str(flag.default_as_str).strip("'")
        text += f" Default: {default}."
    name = f"[no]{flag.name}" if flag.boolean else flag.name
    return _filled(f"--{name}: {text}", "  ")


def _with_flags(text: str, flag_values: flags.FlagValues) -> str:
    """Replaces the names of arguments in a setting's help by flags."""
    return re.sub(r"`(\w+)`", lambda found: f"--{found[1]}" if found[1] in flag_values else found[0], text)


def _filled(text: str, indent: str) -> str:
    """Wraps a text to the width of the terminal; lines after the first are indented further."""
    return textwrap.fill(
        text,
        min(shutil.get_terminal_size().columns, WIDEST),
        initial_indent=indent,
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _of_defense(name: str, flag_values: flags.FlagValues) -> str:
    defense = DEFENSES[name]
    summary = inspect.cleandoc(defense.__doc__ or "").splitlines()[0]
    settings = [setting for key, setting in settings_of(defense).items() if key in default_hyperparameters(name)]
    lines = [_filled(f"--{_with_flags(line, flag_values)}", "  ") for line in describe(settings).splitlines()]
    return "\n".join(
        [f"--defense={name}: {summary}", "", "It takes:", *lines, "", "Use --help alone to see all flags."]
    )
