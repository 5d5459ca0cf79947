"""Remedies in Python's form, as the command lines print them."""

import pytest
from absl import flags

from agkd_tf.errors import InputError
from tools import _app
from tools._remedies import named_by_flags, with_flags


@pytest.fixture(scope="module")
def flag_values():
    values = flags.FlagValues()
    for name in ("workdir", "output", "logits_layer", "features_layer", "channels"):
        flags.DEFINE_string(name, None, "A text.", flag_values=values)
    for name in ("pixel_range", "pixel_mean", "source_pixel_range"):
        flags.DEFINE_list(name, None, "A list.", flag_values=values)
    flags.DEFINE_float("eps", None, "A number.", flag_values=values)
    flags.DEFINE_bool("download", None, "A switch.", flag_values=values)
    flags.DEFINE_enum("jit_compile", "auto", ["auto", "on", "off"], "A switch with a third state.", flag_values=values)
    return values


@pytest.mark.parametrize(
    ("python", "command_line"),
    [
        ("`workdir='runs/at'`", "--workdir=runs/at"),
        ('`workdir="a run"`', "--workdir='a run'"),
        ("`workdir=PATH`", "--workdir=PATH"),
        ("`pixel_range=(0, 255)`", "--pixel_range=0,255"),
        ("`pixel_range=[-1.5, 1e-3]`", "--pixel_range=-1.5,0.001"),
        ("`eps=8 / 255`", "--eps=8/255"),
        ("`eps=-0.1`", "--eps=-0.1"),
        ("`download=True`", "--download"),
        ("`download=False`", "--nodownload"),
        ("`jit_compile=False`", "--jit_compile=off"),
        ("`jit_compile=True`", "--jit_compile=on"),
        ("`workdir='a', eps=0.1`", "--workdir=a --eps=0.1"),
        ("`layer_names={'logits': PATH}`", "--logits_layer=PATH"),
        ("`layer_names={'features': 'a/b', 'logits': 'c'}`", "--features_layer=a/b --logits_layer=c"),
        ("`agkd_tf.adapt(model, pixel_range=(0, 255), mean=127.5)`", "--pixel_range=0,255 --pixel_mean=127.5"),
        ("`adapt(model, channels='first')`", "--channels=first"),
        ("`agkd_tf.adapt(source, pixel_range=(0, 255))`", "--source_pixel_range=0,255"),
    ],
)
def test_arguments_become_flags(python, command_line, flag_values):
    assert with_flags(f"Give {python}, as ever", flag_values) == f"Give {command_line}, as ever"


@pytest.mark.parametrize(
    "text",
    [
        "`workdir` must be a folder",
        "`stranger=1`",
        "`workdir='a', stranger=1`",
        "`eps=None`",
        "`eps=size`",
        "`eps=size(1)`",
        "`agkd_tf.adapt(model, output='probabilities')`",
        "`export(model, output='folder')`",
        "`x == 1`",
        "`=`",
        "eps=0.1",
        "` and `",
        "",
    ],
)
def test_all_else_stays_as_it_is(text, flag_values):
    assert with_flags(text, flag_values) == text


def test_errors_and_notes_are_printed_with_flags(capsys):
    _app.note("of `verbosity`: `verbosity=1`")  # a flag of every absl program
    with pytest.raises(SystemExit) as ended:
        _app.fail("of `verbosity`: `verbosity=1`")
    assert ended.value.code == 2
    assert capsys.readouterr().err == "note: of `verbosity`: --verbosity=1\nerror: of `verbosity`: --verbosity=1\n"


def test_an_argument_is_named_by_the_flag_that_gives_it_and_no_other_word_is_touched():
    with pytest.raises(InputError) as found, named_by_flags(x="num_examples", model="workdir"):
        raise InputError("`x` and `model=PATH`; x of `xs`, `models` and `y`")
    assert str(found.value) == "`num_examples` and `workdir=PATH`; x of `xs`, `models` and `y`"
