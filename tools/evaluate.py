"""Evaluates a classifier under attacks, and records what happened to each image.

  python -m tools.evaluate --workdir=runs/digits/agkd_bml --attacks=clean,fgsm,pgd-20,cw-20,autoattack
  python -m tools.evaluate --workdir=runs/digits/agkd_bml --audit --eps_sweep=0,19/255,38/255,76/255

Data set and eps are the run's own. For a classifier without a run, name them: --model_file=FILE.keras or
--saved_model=FOLDER, with --dataset=... --eps=... --record=FILE.json. An evaluation that was broken off
continues where it stopped; results that are there are not computed again.
"""

import dataclasses
import functools
import pathlib
import re
import sys

import numpy as np
from absl import flags

from agkd_tf.analysis import NEIGHBORS, embed, nearest_neighbor_classes
from agkd_tf.analysis.nearest_neighbors import METRICS
from agkd_tf.attacks import APGD, NORMS, AttackSequence, TransferAttack, parse_attack, rounded
from agkd_tf.compilation import resolve_jit_compile
from agkd_tf.data import load_dataset
from agkd_tf.data.class_names import same_names
from agkd_tf.distribution import ONE_MACHINE, make_strategy
from agkd_tf.errors import InputError
from agkd_tf.evaluation import (
    AdversaryPNGs,
    EvaluationRecord,
    Sign,
    VerificationError,
    audit,
    check_classifier,
    check_png_shape,
    create_adversaries,
    evaluate,
    open_adversaries,
    unwritten,
    verify_adversaries,
    wilson_interval,
    write_pngs,
)
from agkd_tf.models.storage import read_class_names
from agkd_tf.monitoring import write_eps_curve
from agkd_tf.perturbation_size import format_size, parse_size
from agkd_tf.processor import warn_of_slow_settings
from agkd_tf.workdir import Workdir
from tools import _app, _flags
from tools._progress import attack_progress, say
from tools._remedies import with_flags
from tools._subject import SAVED_MODEL, data_and_eps, subject_at, subject_from_flags
from tools._table import audit_table, comparison_table, results_table

FLAGS = flags.FLAGS
TRANSFER = "transfer:"
COMPUTING = ("audit", "eps_sweep", "knn", "recompute")  # what a verification does none of
SQUARE_SUSPICIOUS = 0.002
SWEEP_COLUMNS = ("eps", "accuracy", "confidence_interval_95")

flags.DEFINE_string("workdir", None, "Folder of the run to evaluate.")
flags.DEFINE_string("model_file", None, "A .keras or .h5 classifier to evaluate instead of a run's.")
flags.DEFINE_string("saved_model", None, "A SavedModel to evaluate instead: a program, so only one that you trust.")
flags.DEFINE_string("signature", None, "Signature of the SavedModel; serving_default, or the only one, if not given.")
flags.DEFINE_string("output", None, "Output of the SavedModel that holds the logits; found if not given.")
flags.DEFINE_bool("probabilities", False, "The SavedModel's output are probabilities, of which logarithms are taken.")
flags.DEFINE_string("record", None, "JSON file of the results; the run's evaluation.json if not given.")
_flags.define_data()
_flags.define_data_place()
_flags.define_network()
_flags.define_pixels_of_network("source of transfer from a file", prefix="source_")
_flags.define_evaluation()
flags.DEFINE_string("transfer_attack", "pgd-20", "Attack on SOURCE whose adversaries transfer:SOURCE shows the model.")
_flags.define_eps("attack")
flags.DEFINE_enum("norm", "linf", list(NORMS), "Norm of the ball.")
flags.DEFINE_integer("batch_size", 100, "Images a step.", 1)
flags.DEFINE_integer("seed", 0, "Seed of the attacks' random numbers.", 0, 2**31 - 1)
flags.DEFINE_string("adversaries", None, "Folder to save the adversarial images in, a .npy file an attack.")
flags.DEFINE_bool(
    "png", False, "Round adversaries to 8 bits; save them in --adversaries as PNGs, too, a folder an attack."
)
flags.DEFINE_bool("verify", False, "Recompute the accuracies from the images in --adversaries alone; 1 on a mismatch.")
flags.DEFINE_bool("recompute", False, "Compute results that are recorded already once more.")
flags.DEFINE_bool("audit", False, "Look for the signs of masked gradients, too.")
flags.DEFINE_integer("audit_examples", 200, "First so many images of the split to audit on.", 20)
flags.DEFINE_bool("knn", False, "Classify by nearest training images too; their adversaries are saved.")
flags.DEFINE_integer("neighbors", NEIGHBORS, "Nearest training images that vote under --knn.", 1)
flags.DEFINE_enum("neighbors_metric", METRICS[0], METRICS, "What makes neighbors of two embeddings.")
flags.DEFINE_list("eps_sweep", [], "Sizes of the ball to draw a curve over, separated by commas: 0,2/255,4/255,...")
flags.DEFINE_string("sweep_attack", "pgd-20", "Attack of the curve.")
_flags.define_jit_compile()
_flags.define_distribution(allowed=ONE_MACHINE)
_flags.define_progress()


def main(argv):
    """Evaluates and records, attack by attack."""
    del argv
    with make_strategy(FLAGS.distribution).scope():
        _run()


def _run():
    if FLAGS.png and not FLAGS.adversaries:
        raise InputError("`png` needs --adversaries, the folder to save the images in")
    if FLAGS.verify:
        if not FLAGS.adversaries:
            raise InputError("`verify` needs --adversaries, the folder of the saved images")
        for name in COMPUTING:
            if FLAGS[name].value:
                raise InputError(f"`{name}` computes anew, which `verify` does not: leave one of them out")
    if FLAGS.norm != "linf" and FLAGS.eps is None:
        raise InputError(f"`norm` {FLAGS.norm} needs --eps, the radius in that norm: a run's own is of linf")
    data, own_eps = data_and_eps(FLAGS)
    eps = own_eps if FLAGS.eps is None else FLAGS.eps
    sweep = _sizes("eps_sweep", FLAGS.eps_sweep)
    subject = subject_from_flags(FLAGS)
    if subject.classifier is not None:
        warn_of_slow_settings(subject.classifier.model)
    attacks = [_attack(name, eps, subject) for name in dict.fromkeys(FLAGS.attacks)]
    swept = [(size, _attack(FLAGS.sweep_attack, size, subject)) for size in sorted(set(sweep))]
    if FLAGS.knn:
        if subject.classifier is None:
            raise InputError(
                f"`knn` needs the embedding, which {subject.path} does not show: a run or a .keras file does"
            )
        subject.classifier.check_embedding()
    every = [*attacks, *(attack for _, attack in swept)]
    _tell_of_margins(subject, every + ([_attack("apgd-dlr", eps, subject)] if FLAGS.audit else []))
    training = FLAGS.knn or FLAGS.split == "train"
    dataset = load_dataset(**data, **_flags.data_place(), training=training, class_names=subject.class_names)
    examples = dataset.split(FLAGS.split)
    if not len(examples):
        raise InputError(f"`split`: {data['dataset']} has no {FLAGS.split} images, only test images: --split=test")
    whole = len(examples)
    if FLAGS.num_examples:
        if FLAGS.num_examples > whole:
            raise InputError(f"`num_examples` must be at most {whole}. Received: {FLAGS.num_examples}")
        examples = examples.take(slice(0, FLAGS.num_examples))
    if subject.image_shape not in (None, examples.images.shape[1:]):
        raise InputError(
            f"`dataset` {data['dataset']} has images {examples.images.shape[1:]}, the model takes {subject.image_shape}"
        )
    if FLAGS.png:
        check_png_shape(examples.images.shape)
    _check_classifiers(subject, every, examples)
    _check_class_names(subject, dataset)
    described = {"model_sha256": subject.digest} | {name: value for name, value in data.items() if value is not None}
    described |= {name: FLAGS[name].value for name in SAVED_MODEL if FLAGS[name].value}
    conventions, layers = _flags.pixels_of_network(), _flags.layers_of_network()
    described |= conventions | {f"{part}_layer": layer for part, layer in layers.items()}
    chosen = FLAGS.split if len(examples) == whole else f"{FLAGS.split}, first {len(examples)}"
    looked_at = {"name": chosen, "sha256": examples.digest().hex()}
    record = EvaluationRecord(FLAGS.record or Workdir(FLAGS.workdir).evaluation, described, looked_at)
    if record.moves_to and not FLAGS.verify:
        other = "is of another model or other images, or does not say of which"
        say(f"note: {record.path} {other}; it is kept as {record.moves_to.name}")

    def suffix(size=None, png=FLAGS.png):
        return _suffix(None if FLAGS.norm == "linf" and size == own_eps else size, len(examples), whole, png)

    shown = rounded if FLAGS.png else (lambda attack: attack)
    keys = {attack.name + suffix(eps): shown(attack) for attack in attacks}
    sweep_keys = {size: (attack.name + suffix(size), shown(attack)) for size, attack in swept}
    if FLAGS.verify:
        for key in keys:
            _verify(subject, examples, record, key, eps)
        return
    record.remove_leftovers()
    if record.sections.get("class_names") != list(dataset.class_names):
        record.add_section("class_names", list(dataset.class_names))
    if FLAGS.recompute:
        for key in {*keys, *(key for key, _ in sweep_keys.values())}:
            record.forget(key)
    for key, attack in keys.items():
        _evaluate(subject, examples, record, key, attack)
    title = f"{subject.path}: {data['dataset']} {FLAGS.split}, {FLAGS.norm} eps {format_size(eps)}, seed {FLAGS.seed}"
    results = {attack.name: record.results[key] for key, attack in keys.items()}
    if keys:
        # Over all that is recorded of these images at this eps, not only over this command's attacks.
        rest = suffix(eps).removeprefix(" [")
        alike = [key for key in record.results if key.partition(" [")[2] == rest and record.has_outcome(key)]
        if len(alike) > 1:
            record.add_section(f"worst_case{suffix(eps)}", record.worst_case(alike))
            results[f"worst case of {len(alike)}"] = record.sections[f"worst_case{suffix(eps)}"]
        say("\n" + results_table(title, results))
    if FLAGS.knn:
        _nearest_neighbors(subject, dataset.train, examples, record, list(keys))
    if swept:
        _sweep(subject, examples, record, sweep_keys, suffix())
    if FLAGS.audit:
        _audit(subject, examples, record, eps, attacks, functools.partial(suffix, png=False))
    say(f"\nRecorded in {record.path}")


def _tell_of_margins(subject, attacks):
    parts = [part for attack in attacks for part in attack.attacks]
    names = [part.name for part in parts if isinstance(part, APGD) and part.objective == "margin"]
    if names:
        few = f"{subject.num_classes} classes are too few for AutoAttack's ratio"
        say(f"note: {few}; {', '.join(dict.fromkeys(names))} ascends the margin instead")


def _check_classifiers(subject, attacks, examples):
    """Checks the subject and the sources of transfer, before anything is recorded."""
    check_classifier(subject.logits, examples)
    for attack in attacks:
        if attack.name.startswith(TRANSFER):
            try:
                check_classifier(attack.attacks[0].source, examples)
            except InputError as error:
                raise InputError(f"`attacks`: {attack.name}: {error}") from error


def _sizes(name, texts):
    try:
        return [parse_size(text) for text in texts]
    except ValueError as error:
        raise InputError(f"`{name}`: each size {error}. Received: {','.join(texts)}") from error


def _attack(name, eps, subject):
    if not name.startswith(TRANSFER):
        return parse_attack(name, eps=eps, norm=FLAGS.norm, num_classes=subject.num_classes)
    try:
        source = subject_at("attacks", name.removeprefix(TRANSFER), _flags.pixels_of_network(prefix="source_"))
    except InputError as error:  # which names the flags of the network that is evaluated
        raise InputError(re.sub(r"(--|`)(pixel_|channels)", r"\1source_\2", with_flags(str(error)))) from error
    if source.num_classes == subject.num_classes:
        source = source.numbered_by("attacks", subject.class_names)
    taken = [(network.image_shape or subject.image_shape, network.num_classes) for network in (source, subject)]
    if taken[0] != taken[1]:
        raise InputError(f"`attacks`: {name} takes images and has classes {taken[0]}, the model {taken[1]}")
    try:
        crafted = parse_attack(FLAGS.transfer_attack, eps=eps, norm=FLAGS.norm, num_classes=source.num_classes)
    except InputError as error:
        raise InputError(f"`transfer_attack`: {error}") from error
    if len(crafted.attacks) > 1:
        raise InputError(f"`transfer_attack` must be one attack, not several. Received: {crafted.name}")
    if crafted.name != FLAGS["transfer_attack"].default:
        name += f" by {crafted.name}"
    transfer = TransferAttack(source.logits, crafted.attacks[0], source.digest, named=name)
    return AttackSequence(name, (transfer,), crafted.ball)


def _check_class_names(subject, dataset):
    """Says what is not known where the model has no class names; sources of transfer that have some must agree.

    Raises:
        InputError: if a source numbers its classes otherwise than the data.
    """
    if subject.class_names is not None:
        return
    if dataset.num_classes != subject.num_classes:
        _app.note(
            f"{subject.path} has {subject.num_classes} classes without names, the data {dataset.num_classes}: they are "
            f"taken for its first ones, in this order: {', '.join(dataset.class_names)}"
        )
    for name in dict.fromkeys([*FLAGS.attacks, FLAGS.sweep_attack]):
        if name.startswith(TRANSFER):
            names = read_class_names("attacks", name.removeprefix(TRANSFER))
            if names is not None and not same_names(names, dataset.class_names):
                raise InputError(
                    f"`attacks`: {name} has other class names, or another order, than the data, whose order the model "
                    "without names is taken to have"
                )


def _evaluate(subject, examples, record, key, attack):
    outcome = record.begin(key, attack, examples.labels, seed=FLAGS.seed)
    adversaries = None
    if FLAGS.adversaries or FLAGS.knn:
        path = _adversaries_path(record, key)
        adversaries = create_adversaries(path, examples.images.shape, record.described(key))
        lost = unwritten(adversaries) & (outcome.state != 0)
        if lost.any():
            say(f"note: the adversaries of {lost.sum()} images were not saved; {key} is done once more on them")
            outcome.restart(lost)
    if outcome.finished(len(attack.stages)) and key in record.results:
        _write_pngs(record, key, examples, adversaries, missing_only=True)
        return
    evaluate(
        subject.logits,
        examples,
        attack,
        **_computation(),
        outcome=outcome,
        adversaries=adversaries,
        checkpoint=record.save_outcomes,
        progress=attack_progress(attack.name),
    )
    if adversaries is not None:
        adversaries.flush()
    _write_pngs(record, key, examples, adversaries)
    result = record.add(key, attack, seed=FLAGS.seed)
    say(f"{key}: {result.accuracy:.2%} in {result.seconds:.0f} s")
    by_square = result.broken_by.get("square", 0) / result.num_examples
    if len(attack.attacks) > 2 and by_square > SQUARE_SUSPICIOUS:
        say(f"note: Square broke {by_square:.1%} that the gradient attacks left: gradients may be masked; see --audit")


def _write_pngs(record, key, examples, adversaries, **settings):
    if FLAGS.png:
        folder, described = _adversaries_path(record, key, ""), record.described(key)
        write_pngs(folder, adversaries, examples.labels, record.predictions(key), described, **settings)


def _verify(subject, examples, record, key, eps):
    if key not in record.results:
        raise InputError(f"`verify`: {key} is not recorded; evaluate it first, with the same flags")
    settings = {"eps": eps, "norm": FLAGS.norm, "accuracy": record.results[key]["accuracy"]}
    settings["predictions"] = record.predictions(key)
    if FLAGS.png:
        place = (_adversaries_path(record, key, ""), record.described(key), examples.labels, examples.images.shape[1:])
        adversaries = AdversaryPNGs(*place, predictions=record.predictions(key))
    else:
        adversaries = open_adversaries(_adversaries_path(record, key), record.described(key))
    try:
        found = verify_adversaries(subject.logits, examples, adversaries, batch_size=FLAGS.batch_size, **settings)
    except VerificationError as error:
        print(f"error: {key}: {error}", file=sys.stderr)
        sys.exit(1)
    print(f"{key}: {found:.2%}, as recorded")


def _nearest_neighbors(subject, training, examples, record, keys):
    name, reference, results = f"knn-{FLAGS.neighbors}", None, {}
    name += "" if FLAGS.neighbors_metric == "cosine" else f"-{FLAGS.neighbors_metric}"
    for key in keys:
        if name not in record.results[key]:
            if reference is None:
                say(f"Embedding {len(training)} training images ...")
                reference = embed(subject.classifier, training.images, batch_size=FLAGS.batch_size)
            adversaries = open_adversaries(_adversaries_path(record, key), record.described(key))
            embeddings = embed(subject.classifier, adversaries, batch_size=FLAGS.batch_size)
            settings = {"neighbors": FLAGS.neighbors, "metric": FLAGS.neighbors_metric}
            classes = nearest_neighbor_classes(reference, training.labels, embeddings, **settings)
            correct = np.count_nonzero(classes == examples.labels)
            found = {"accuracy": correct / len(examples), "num_examples": len(examples)}
            found |= {"confidence_interval_95": wilson_interval(correct, len(examples))}
            record.add_detail(key, name, found | {"reference_examples": len(training)})
        results[key] = {"softmax": record.results[key], "k-NN": record.results[key][name]}
    say(f"\nBy the {FLAGS.neighbors} nearest training images:\n{comparison_table('attack', results)}")


def _sweep(subject, examples, record, attacks, suffix):
    for key, attack in attacks.values():
        _evaluate(subject, examples, record, key, attack)
    name = f"eps_sweep {FLAGS.sweep_attack} {FLAGS.norm}{suffix}"
    # Sizes that an earlier sweep looked at stay in the curve.
    points = {size: (accuracy, interval) for size, accuracy, interval in _recorded_points(record, name)}
    for size, (key, _) in attacks.items():
        points[size] = (record.results[key]["accuracy"], record.results[key]["confidence_interval_95"])
    points = [(size, *points[size]) for size in sorted(points)]
    record.add_section(name, dict(zip(SWEEP_COLUMNS, zip(*points, strict=True), strict=True)))
    picture = record.path.with_name(f"{record.path.stem}_{re.sub('[^a-zA-Z0-9.-]+', '_', name).strip('_')}")
    folder = Workdir(FLAGS.workdir).tensorboard / "evaluation" if FLAGS.workdir else None
    pictures = write_eps_curve(picture, points, attack=FLAGS.sweep_attack, norm=FLAGS.norm, folder=folder)
    curve = ", ".join(f"{format_size(size)}: {100 * accuracy:.1f}" for size, accuracy, _ in points)
    say(f"\n{FLAGS.sweep_attack}, accuracy in % by {FLAGS.norm} eps: {curve}")
    say(f"Drawn in {' and '.join(map(str, pictures))}")


def _recorded_points(record, name):
    section = record.sections.get(name, {})
    return zip(*(section.get(column, ()) for column in SWEEP_COLUMNS), strict=True)


def _audit(subject, examples, record, eps, attacks, suffix):
    count = min(FLAGS.audit_examples, len(examples))
    sources = [attack.attacks[0] for attack in attacks if attack.name.startswith(TRANSFER)]
    name = f"audit{suffix(eps)} on {count}" + (f", {sources[0].name}" if sources else "")
    content = {"num_examples": count, "eps": eps, "norm": FLAGS.norm, "seed": FLAGS.seed, "examples": record.examples}
    if sources:
        content["source_sha256"] = sources[0].source_digest
    known = record.sections.get(name, {})

    def begin(attack, labels):
        key = f"{name}: {attack.name}"
        if FLAGS.recompute:
            record.forget(key)
        return record.begin(key, attack, labels, seed=FLAGS.seed)

    if FLAGS.recompute or any(known.get(key) != value for key, value in content.items()):
        bars = {}

        def progress(title, *news):
            bars.setdefault(title, attack_progress(f"audit: {title}"))(*news)

        signs = audit(
            subject.logits,
            examples.take(slice(0, count)),
            eps=eps,
            norm=FLAGS.norm,
            source=sources[0].source if sources else None,
            source_digest=sources[0].source_digest if sources else "",
            begin=begin,
            checkpoint=record.save_outcomes,
            progress=None if FLAGS.progress == "off" else progress,
            **_computation(),
        )
        record.add_section(name, {**content, "signs": [dataclasses.asdict(sign) for sign in signs]})
    signs = [Sign(**sign) for sign in record.sections[name]["signs"]]
    table = audit_table(signs, autoattack=f"autoattack{suffix(eps)}" in record.results)
    say(f"\nSigns of masked gradients, on {count} images:\n{table}")


def _computation():
    jit_compile = resolve_jit_compile(_flags.switch("jit_compile"))
    return {"batch_size": FLAGS.batch_size, "seed": FLAGS.seed, "jit_compile": jit_compile}


def _adversaries_path(record, key, suffix=".npy"):
    folder = pathlib.Path(FLAGS.adversaries) if FLAGS.adversaries else record.path.with_name("adversaries")
    return folder / f"{key.replace('/', '_')}{suffix}"


def _suffix(eps, count, whole, png):
    """Returns what tells results of one name apart: the settings that differ from the run's own."""
    settings = [] if FLAGS.split == "test" else [FLAGS.split]
    if eps is not None:
        settings.append(f"{FLAGS.norm} {format_size(eps)}")
    if FLAGS.seed:
        settings.append(f"seed {FLAGS.seed}")
    if png:
        settings.append("8 bits")
    if count != whole:
        settings.append(f"first {count}")
    return f" [{', '.join(settings)}]" if settings else ""


if __name__ == "__main__":
    _app.run(main)
