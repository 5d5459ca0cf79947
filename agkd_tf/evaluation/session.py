"""An evaluation session: a model, its images, and a record so that nothing is computed twice."""

import dataclasses
import functools
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any

import numpy as np
import tensorflow as tf

from agkd_tf.analysis import NEIGHBORS, embed, nearest_neighbor_classes
from agkd_tf.analysis.nearest_neighbors import Metric
from agkd_tf.attacks import APGD, Attack, AttackSequence, Ball, TransferAttack, bound, check_names, rounded
from agkd_tf.attacks.rounding import Rounded
from agkd_tf.compilation import resolve_jit_compile
from agkd_tf.data import Examples
from agkd_tf.data.pixels import as_float
from agkd_tf.errors import InputError, check_range
from agkd_tf.evaluation.adversaries import create_adversaries, open_adversaries, unwritten, verify_adversaries
from agkd_tf.evaluation.adversary_pngs import AdversaryPNGs, check_png_shape, write_pngs
from agkd_tf.evaluation.audit import Audit, Sign, masked_gradient_signs
from agkd_tf.evaluation.autoattack_estimate import CHEAP, ESTIMATE, FULL, AutoAttackEstimate, estimate_autoattack
from agkd_tf.evaluation.checks import check_classifier, random_difference
from agkd_tf.evaluation.digests import network_digest
from agkd_tf.evaluation.eps_sweep import EpsSweep
from agkd_tf.evaluation.examples import examples_of
from agkd_tf.evaluation.identity import FILE, NETWORK
from agkd_tf.evaluation.key import Key, images_name, split_and_count
from agkd_tf.evaluation.neighbors import NeighborAccuracies
from agkd_tf.evaluation.options import EvaluationOptions
from agkd_tf.evaluation.outcome import Outcome
from agkd_tf.evaluation.record import EvaluationRecord, check_known, record_path
from agkd_tf.evaluation.result import Accuracy, AttackResult, Evaluation
from agkd_tf.evaluation.run_attack import continue_attack, run_attack
from agkd_tf.evaluation.subject import SETTINGS, own_ball_of, subject_of
from agkd_tf.evaluation.transfer_sources import TRANSFER, TransferSources
from agkd_tf.models import Classifier
from agkd_tf.perturbation_size import format_size
from agkd_tf.processor import warn_of_slow_settings
from agkd_tf.progress import Progress
from agkd_tf.settings import Count, Radius, Range, check_settings
from agkd_tf.types import PathLike
from agkd_tf.workdir import Workdir

Attacks = str | Attack | AttackSequence | Iterable[str | Attack | AttackSequence]

ATTACKS = ("clean", "fgsm", "pgd-20", "cw-20")
SWEEP_ATTACK = "pgd-20"
AUDITED = 200
SQUARE_SUSPICIOUS = 0.002
ROUNDING = 1e-3  # relative to the largest logit: classes this close may swap ranks by rounding alone
BITS = 8


class EvaluationSession:
    """Evaluates one model on given images, and records the results.

        session = EvaluationSession(model, x_test, y_test, eps=8 / 255, folder="runs/mine")
        print(session.accuracies(["clean", "autoattack"]))
        print(session.eps_sweep([0, 2 / 255, 4 / 255]))
        print(session.audit())

    Recorded results are not computed again, and an interrupted evaluation continues, even if the command line started
    it.

    Args:
        model: see `subject_of`.
        x, y: see `examples_of`.
        folder: folder for the record, `evaluation.json` and `.npz`; or the path of the JSON file itself. None records
            nothing.
        model_name: see `subject_of`.
        data: for the record, the settings of `load_dataset` that gave the images.
        source_settings: how to read the networks of `transfer:PATH`; see `subject_at`.
        **settings: settings of `EvaluationOptions`; for the path of a model, also those of `subject_at`.

    Raises:
        InputError: for an invalid argument, or a model that a record could not recognize.
    """

    def __init__(
        self,
        model: Any,
        x: Any,
        y: Any = None,
        *,
        folder: PathLike | None = None,
        model_name: str | None = None,
        data: Mapping[str, Any] | None = None,
        source_settings: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        names = {field.name for field in dataclasses.fields(EvaluationOptions)}
        unknown = settings.keys() - names - set(SETTINGS)
        if unknown:
            allowed = ", ".join([*sorted(names), *SETTINGS])
            raise InputError(f"an evaluation has no setting `{min(unknown)}`. It has: {allowed}")
        self.options = EvaluationOptions(**{name: settings.pop(name) for name in names & settings.keys()})
        self.progress = Progress(self.options.progress)
        self.subject = subject_of(model, model_name=model_name, **settings)
        self.own_ball = self.subject.own_ball
        if FILE not in self.subject.described and folder is not None:
            # A network in memory whose results go to a run's folder uses the run's ball.
            self.own_ball = own_ball_of(Workdir(record_path(folder).parent))
        self.ball = self._chosen_ball()
        if folder is not None:
            check_known(self.subject.described, "`folder`")
        given = examples_of(x, y, image_shape=self.subject.image_shape, num_classes=self.subject.num_classes)
        count = self.options.num_examples
        if count is not None and count > len(given):
            raise InputError(f"`num_examples` must be at most {len(given)}. Received: {count}")
        self.examples = given if count is None else given.take(slice(0, count))
        if self.options.png:
            check_png_shape(self.examples.images.shape)
        self._first = check_classifier(self.subject.logits, self.examples)
        self.num_classes = int(self._first.shape[1])
        self.subject.check_numbering(self.examples, self.num_classes)
        self._told: set[str] = set()
        self._computation: dict[str, Any] = {
            "batch_size": self.options.batch_size,
            "seed": self.options.seed,
            "jit_compile": resolve_jit_compile(self.options.jit_compile),
        }
        if self.subject.classifier is not None:
            warn_of_slow_settings(self.subject.classifier.model)
        self._open_record(folder, data or {})
        self._sources = TransferSources(
            self.subject,
            self.examples,
            self.num_classes,
            attack=self.options.transfer_attack,
            settings=source_settings or {},
            recorded=self.record.path is not None,
        )
        self._has_begun, self._has_data = False, bool(data)
        self._unsaved: dict[str, np.ndarray] = {}
        self._forgotten: set[str] = set()

    def _chosen_ball(self) -> Ball:
        """Returns the requested ball; the run's own ball fills in what is not given."""
        own, eps, norm = self.own_ball, self.options.eps, self.options.norm
        if eps is not None:
            return Ball(norm or (own.norm if own else "linf"), eps)
        if own is None:
            raise InputError("`eps`, the radius of the ball, is needed: `eps=8 / 255`, for images in [0, 1]")
        if norm not in (None, own.norm):
            raise InputError(f"`norm` {norm} needs `eps=SIZE`, the radius in that norm: the run's own is in {own.norm}")
        return own

    def _open_record(self, folder: PathLike | None, data: Mapping[str, Any]) -> None:
        digest, origin = self.examples.digest().hex(), self.examples.origin
        name = f"images {digest[:8]}" if origin is None else images_name(origin.split, origin.first)
        described = {**self.subject.described, **{key: value for key, value in data.items() if value is not None}}
        described |= self.subject.settings
        path = None if folder is None else record_path(folder)
        self.record = EvaluationRecord(path, described, {"name": name, "sha256": digest})
        self.split, self.count = split_and_count(self.record.examples["name"])

    @property
    def title(self) -> str:
        """Model, images, ball and seed in one line."""
        return f"{self.subject.path}: {self._images}, {self._ball(self.ball.eps)}, seed {self.options.seed}"

    @property
    def _images(self) -> str:
        origin = self.examples.origin
        return f"{len(self.examples)} images" if origin is None else f"{origin.dataset} {origin.split}"

    def _ball(self, eps: float) -> str:
        return f"{self.ball.norm} eps {format_size(eps)}"

    # The attacks.

    def prepare(
        self, attacks: Attacks, eps: float | None = None, *, estimates: bool = False
    ) -> dict[str, AttackSequence]:
        """Checks attacks before anything is computed; returns name -> attack, bound to a ball.

        Args:
            attacks: names, `agkd_tf.attacks.Attack`s or `AttackSequence`s; or a single one.
            eps: radius of the ball; None for the session's own.
            estimates: whether `autoattack-estimate` is allowed. It is no attack, and is left out of the result.

        Raises:
            InputError: if something is not an attack or does not fit the model or the images, if two attacks have the
                same name, or if the model has changed since the session began.
        """
        self._check_unchanged()
        if isinstance(attacks, str | Attack | AttackSequence):
            attacks = [attacks]
        if isinstance(attacks, Mapping) or not isinstance(attacks, Iterable):
            raise InputError(
                "`attacks` must be an attack or a list of attacks, each with its own name (`named=...`). "
                f"Received: {attacks!r}"
            )
        found: dict[str, AttackSequence] = {}
        for each in attacks:
            if isinstance(each, str) and each == ESTIMATE:
                self._check_estimate(allowed=estimates)
                continue
            attack = self._bound(each, self.ball.eps if eps is None else eps)
            check_names("`attacks`", [attack, *found.values()])
            found[attack.name] = attack
        self._tell_of_margins(found.values())
        return found

    def _check_estimate(self, *, allowed: bool) -> None:
        if not allowed:
            raise InputError(f"`attacks`: {ESTIMATE} does not attack every image, which is needed here: give {FULL}")
        if self.options.adversaries is not None:
            raise InputError(
                f"`adversaries` needs attacks on every image, and {ESTIMATE} attacks a sample: give {FULL}, or leave "
                "`adversaries` out"
            )
        self.prepare([CHEAP, FULL])

    def _prepare_one(self, attack: Any, eps: float | None = None) -> AttackSequence:
        found = list(self.prepare(attack, eps).values())
        if len(found) != 1:
            raise InputError(f"one attack is needed, such as {SWEEP_ATTACK}. Received: {len(found)}")
        return found[0]

    def _check_unchanged(self) -> None:
        classifier, known = self.subject.classifier, self.subject.described.get(NETWORK)
        if classifier is None or known is None:
            return
        if network_digest(classifier.model, classifier.layer_names) != known:
            raise InputError(
                f"{self.subject.path} has changed since this evaluation began, so its results are those of the old "
                "network: make another `EvaluationSession`"
            )

    def _bound(self, attack: Any, eps: float) -> AttackSequence:
        if isinstance(attack, str) and attack.startswith(TRANSFER):
            attack = self._sources.attack_by(attack, Ball(self.ball.norm, eps))
        found = bound(attack, Ball(self.ball.norm, eps), self.num_classes)
        parts = tuple(
            self._sources.checked(part) if isinstance(part, TransferAttack) else part for part in found.attacks
        )
        found = dataclasses.replace(found, attacks=parts)
        return rounded(found) if self.options.png else found

    def _tell_of_margins(self, attacks: Iterable[AttackSequence]) -> None:
        """Prints which attacks ascend the margin because the model has too few classes for AutoAttack's ratio."""
        parts = [part for attack in attacks for part in attack.attacks]
        parts = [part.attack if isinstance(part, Rounded) else part for part in parts]
        found = dict.fromkeys(part.name for part in parts if isinstance(part, APGD) and part.objective == "margin")
        names = [name for name in found if name not in self._told]
        if names:
            self._told.update(names)
            few = f"{self.num_classes} classes are too few for AutoAttack's ratio"
            self.progress.say(f"note: {few}; {', '.join(names)} ascends the margin instead")

    # The record.

    def key(self, attack: str, eps: float | None = None, *, bits: bool = True) -> Key:
        """Returns the key of a result in the record, unless the result is already there under another name.

        Args:
            attack: the attack's name.
            eps: radius of the ball; None for the session's own.
            bits: whether the key states that adversaries are rounded.
        """
        size = self.ball.eps if eps is None else eps
        is_own = Ball(self.ball.norm, size) == self.own_ball
        return Key(
            attack,
            norm=None if is_own else self.ball.norm,
            eps=None if is_own else size,
            split=self.split,
            count=self.count,
            seed=self.options.seed,
            bits=BITS if self.options.png and bits else None,
        )

    def key_of(self, attack: Any) -> str:
        """Returns the key that an attack's result has, or will have, in the record."""
        return self._find(self._prepare_one(attack))

    def _find(self, attack: AttackSequence, eps: float | None = None) -> str:
        return self.record.find(str(self.key(attack.name, eps)), attack, seed=self.options.seed)

    def _begin(self) -> None:
        """Prepares the record for writing, once: says where other results move, and removes half-written files.

        `verify` does not call it, since it must not change anything.
        """
        if self._has_begun:
            return
        self._has_begun = True
        if self.record.moves_to is not None:
            other = "belongs to another model or other images, or does not say to which"
            self.progress.say(f"note: {self.record.path} {other}; it is kept as {self.record.moves_to.name}")
        self._check_answers_as_recorded()
        self.record.remove_leftovers()
        for old, new in self.record.renamed.items():
            for suffix in (".npy", ".json", ""):
                path = self._adversaries_path(old, suffix)
                if path.exists() and not self._adversaries_path(new, suffix).exists():
                    path.rename(self._adversaries_path(new, suffix))
        origin = self.examples.origin
        if origin is not None and self.record.sections.get("class_names") != list(origin.class_names):
            self.record.add_section("class_names", list(origin.class_names))

    def _check_answers_as_recorded(self) -> None:
        """Checks that the model still classifies the first clean images as recorded.

        A digest does not cover the code of a user's own layers, nor the variables that a function refers to.

        Raises:
            InputError: if a prediction differs by more than rounding.
        """
        known = (key for key, found in self.record.results.items() if found.get("attack") == [{}])
        for key in filter(self.record.is_of_these_images, known):
            recorded = self.record.predictions(key)
            logits = np.asarray(self._first, np.float32)
            seen = logits.argmax(1)
            if recorded is None or np.array_equal(recorded[: len(seen)], seen):
                continue
            places = np.flatnonzero(recorded[: len(seen)] != seen)
            lead = logits[places, seen[places]] - logits[places, recorded[places]]
            clear = places[lead > ROUNDING * np.abs(logits[places]).max(1)]
            again = self.subject.logits(as_float(tf.constant(self.examples.images[: len(seen)])))
            if len(clear) and not random_difference(self._first, again):
                place = clear[0]
                raise InputError(
                    f"{self.subject.path} classifies image {place} as {seen[place]}, but {self.record.path} has "
                    f"{recorded[place]} for what should be the same model: the code of a layer or function has "
                    "changed; choose another `folder`"
                )

    def _adversaries_path(self, key: str, suffix: str = ".npy") -> pathlib.Path:
        beside = pathlib.Path("adversaries") if self.record.path is None else self.record.path.with_name("adversaries")
        return pathlib.Path(self.options.adversaries or beside) / f"{key.replace('/', '_')}{suffix}"

    @property
    def _has_place(self) -> bool:
        return self.options.adversaries is not None or self.record.path is not None

    # The computations.

    def accuracy(self, attack: Any, eps: float | None = None) -> AttackResult:
        """Returns the result of one attack; see `accuracies`."""
        bound = self._prepare_one(attack, eps)
        self._begin()
        key = self._find(bound, eps)
        self._forget([key])
        self._compute(key, bound)
        return self.record.result(key, bound.name)

    def accuracies(self, attacks: Attacks = ATTACKS, *, keep_adversaries: bool = False) -> Evaluation:
        """Returns the results of attacks; computes only what is not recorded yet.

        Args:
            attacks: names such as `pgd-20` and `transfer:PATH`, `agkd_tf.attacks.Attack`s or `AttackSequence`s; or a
                single one.
            keep_adversaries: keep the adversaries for `nearest_neighbors`: beside the record if there is one, else in
                memory. With the option `adversaries`, they are kept in any case.

        Raises:
            InputError: see `prepare` and `run_attack`.
        """
        if isinstance(attacks, Iterator):
            attacks = list(attacks)  # read twice
        bound = self.prepare(attacks, estimates=True)
        estimated = attacks == ESTIMATE or (not isinstance(attacks, Attack | AttackSequence) and ESTIMATE in attacks)
        if not bound and not estimated:
            raise InputError(f"`attacks` must name at least one attack, such as {', '.join(ATTACKS)}. Received: none")
        self._begin()
        keys = {name: self._find(attack) for name, attack in bound.items()}
        self._forget(keys.values())
        for name, attack in bound.items():
            self._compute(keys[name], attack, keep=keep_adversaries)
        estimate = self._autoattack_estimate() if estimated else None
        over = self.record.add_worst_case(keys.values(), self.key(""))
        results = {name: self.record.result(key, name) for name, key in keys.items()}
        robust = {key: self.record.robust(key) for key in over}
        return Evaluation(self.title, results, self.record, keys, robust, estimate)

    def _autoattack_estimate(self) -> AutoAttackEstimate:
        cheap, full = self.prepare([CHEAP, FULL]).values()
        keys = self._find(cheap), self._find(full)
        self._forget(keys)
        self._compute(keys[0], cheap)
        outcome = self.record.begin(keys[1], full, self.examples.labels, seed=self.options.seed)
        compiled: dict[Attack, Callable] = {}

        def attack(places: np.ndarray) -> None:
            continue_attack(
                self.subject.logits,
                self.examples,
                full,
                outcome,
                places=places,
                compiled=compiled,
                **self._computation,
                checkpoint=self.record.save_outcomes,
                progress=self.progress.of_attack(ESTIMATE),
            )

        estimate = estimate_autoattack(
            self.record.robust(keys[0]),
            outcome,
            attack,
            precision=self.options.precision,
            seed=self.options.seed,
            seconds=self.record.results[keys[0]]["seconds"],
            told=self.progress.say,
        )
        self.record.add_section(f"{ESTIMATE}{self.key('').suffix}", estimate.record())
        if estimate.says_weak:
            broken = estimate.sample - estimate.left_of_sample
            self.progress.say(
                f"note: AutoAttack broke {broken:,} of the {estimate.sample:,} sampled images that {CHEAP.name} had "
                "left: gradients may be masked; run an audit (agkd_tf.audit, or --audit)"
            )
        return estimate

    def adopt(self, attack: Any, outcome: Outcome) -> bool:
        """Takes over the outcome of an attack that another program ran; `accuracies` continues from there.

        Args:
            attack: the attack, as for `accuracies`.
            outcome: outcome for these images, in the same order, with the session's seed and ball.

        Returns:
            Whether the attack had finished on all images.

        Raises:
            InputError: if the outcome has another number of images.
        """
        if len(outcome.state) != len(self.examples):
            raise InputError(f"`outcome` must have {len(self.examples)} images. Received: {len(outcome.state)}")
        bound = self._prepare_one(attack)
        self._begin()
        own = self.record.begin(self._find(bound), bound, self.examples.labels, seed=self.options.seed)
        own.state[:], own.prediction[:], own.seconds = outcome.state, outcome.prediction, outcome.seconds
        own.norms, own.nearest = outcome.norms, outcome.nearest
        self.record.save_outcomes()
        return own.finished(len(bound.stages))

    def _forget(self, keys: Iterable[str]) -> None:
        """With the option `recompute`, drops recorded results, each only once per session."""
        if self.options.recompute:
            for key in set(keys) - self._forgotten:
                self._forgotten.add(key)
                self.record.forget(key)

    def _compute(self, key: str, attack: AttackSequence, *, keep: bool = False) -> None:
        outcome = self.record.begin(
            key, attack, self.examples.labels, seed=self.options.seed, reuse=not self.options.recompute
        )
        adversaries = None
        if self.options.adversaries or keep:
            adversaries = self._adversaries(key)
            lost = unwritten(adversaries) & (outcome.state != 0)
            if lost.any():
                self.progress.say(
                    f"note: the adversaries of {lost.sum()} images were not saved; {key} runs again on these images"
                )
                outcome.restart(lost)
        if outcome.finished(len(attack.stages)) and key in self.record.results:
            self._write_pngs(key, adversaries, missing_only=True)
            return
        run_attack(
            self.subject.logits,
            self.examples,
            attack,
            **self._computation,
            outcome=outcome,
            adversaries=adversaries,
            checkpoint=self.record.save_outcomes,
            progress=self.progress.of_attack(attack.name),
        )
        if isinstance(adversaries, np.memmap):
            adversaries.flush()
        self._write_pngs(key, adversaries)
        result = self.record.add(key, attack, seed=self.options.seed)
        self.progress.say(f"{key}: {result.accuracy:.2%} in {result.seconds:.0f} s")
        by_square = result.broken_by.get("square", 0) / result.num_examples
        if len(attack.attacks) > 2 and by_square > SQUARE_SUSPICIOUS:
            self.progress.say(
                f"note: Square broke another {by_square:.1%} of all images after the gradient attacks: gradients may "
                "be masked; run an audit (agkd_tf.audit, or --audit)"
            )

    def _adversaries(self, key: str) -> np.ndarray:
        shape = self.examples.images.shape
        if self._has_place:
            return create_adversaries(self._adversaries_path(key), shape, self.record.described(key))
        return self._unsaved.setdefault(key, np.full(shape, np.nan, np.float32))

    def _write_pngs(self, key: str, adversaries: np.ndarray | None, *, missing_only: bool = False) -> None:
        predictions = self.record.predictions(key)
        if self.options.png and adversaries is not None and predictions is not None:
            folder, described = self._adversaries_path(key, ""), self.record.described(key)
            write_pngs(folder, adversaries, self.examples.labels, predictions, described, missing_only=missing_only)

    def verify(self, attack: Any) -> float:
        """Recomputes a recorded accuracy from the saved adversaries alone, and returns it.

        Args:
            attack: the attack, as for `accuracies`.

        Raises:
            VerificationError: if the adversaries contradict the record; the message says how.
            InputError: if the accuracy is not recorded, or its adversaries do not exist.
        """
        if self.options.adversaries is None:
            raise InputError("`verify` needs `adversaries=FOLDER`, the folder of the saved images")
        key = self._find(self._prepare_one(attack))
        if key not in self.record.results:
            raise InputError(f"`verify`: {key} is not recorded; evaluate it first with the same settings")
        predictions = self.record.predictions(key)
        described, labels = self.record.described(key), self.examples.labels
        adversaries: np.ndarray | AdversaryPNGs
        if self.options.png:
            place = (self._adversaries_path(key, ""), described, labels, self.examples.images.shape[1:])
            adversaries = AdversaryPNGs(*place, predictions=predictions)
        else:
            adversaries = open_adversaries(self._adversaries_path(key), described)
        return verify_adversaries(
            self.subject.logits,
            self.examples,
            adversaries,
            eps=self.ball.eps,
            norm=self.ball.norm,
            accuracy=self.record.results[key]["accuracy"],
            predictions=predictions,
            batch_size=self.options.batch_size,
        )

    def check_embedding(self) -> Classifier:
        """Checks that the model gives an embedding to find nearest neighbors by; returns its `Classifier`.

        Raises:
            InputError: if it gives none.
        """
        if self.subject.classifier is None:
            raise InputError(
                f"`knn` needs the embedding, which {self.subject.path} does not give: use a run or a .keras file"
            )
        try:
            self.subject.classifier.check_embedding()
        except InputError as error:
            raise InputError(self.subject.remedied(error)) from error
        return self.subject.classifier

    def nearest_neighbors(
        self,
        training: Any,
        attacks: Attacks = ATTACKS,
        *,
        neighbors: Annotated[Count, "Number of nearest training images that vote on the class."] = NEIGHBORS,
        metric: Annotated[Metric, "Metric by which nearest neighbors are found."] = "cosine",
    ) -> NeighborAccuracies:
        """Returns the accuracies under attack of classification by nearest training images.

        The adversaries are crafted against the network's own outputs. They are kept in the folder of the option
        `adversaries`, else beside the record, or in memory without a record.

        Args:
            training: training images and labels, without augmentation, to find neighbors among; as `x` of
                `examples_of`.
            attacks: as for `accuracies`; results that are not recorded yet are computed first.
            neighbors, metric: see `nearest_neighbor_classes`.

        Raises:
            InputError: if the model gives no embedding, or for an invalid argument.
        """
        given = {"neighbors": neighbors, "metric": metric}
        neighbors, metric = check_settings(EvaluationSession.nearest_neighbors, given).values()
        classifier, size = self.check_embedding(), self.options.batch_size
        training = examples_of(training, image_shape=self.examples.images.shape[1:], num_classes=self.num_classes)
        check_range("neighbors", neighbors, 1, len(training))
        bound, reference, found = self.prepare(attacks), None, {}
        self._begin()
        digest = training.digest().hex()
        name = f"knn-{neighbors}" + ("" if metric == "cosine" else f"-{metric}")
        for attack in bound.values():
            key = self._find(attack)
            known = self.record.results.get(key, {}).get(name)
            # Earlier versions stored no digest; their reference is the training split of the data in the record.
            trusted = digest if self._has_data else None
            if known is None or known.get("reference_sha256", trusted) != digest:
                self._compute(key, attack, keep=True)
                if reference is None:
                    self.progress.say(f"Embedding {len(training)} training images ...")
                    reference = embed(classifier, training.images, batch_size=size)
                adversaries = self._adversaries(key)
                embeddings = embed(classifier, adversaries, batch_size=size)
                classes = nearest_neighbor_classes(
                    reference, training.labels, embeddings, neighbors=neighbors, metric=metric
                )
                detail = Accuracy.of(classes == self.examples.labels).record()
                detail |= {"reference_examples": len(training), "reference_sha256": digest}
                self.record.add_detail(key, name, detail)
            found[key] = (self.record.results[key], self.record.results[key][name])
        return NeighborAccuracies.of(neighbors, found)

    def eps_sweep(
        self,
        sizes: Annotated[tuple[Radius, ...], "Draw accuracy over these radii of the ball, such as 0,2/255,4/255."],
        attack: Annotated[str, "Attack of the curve."] = SWEEP_ATTACK,
    ) -> EpsSweep:
        """Returns the accuracies under an attack for several radii, including those of earlier recorded sweeps.

        An attack that searches for the smallest perturbation, such as fmn-100, runs once, at the session's own eps. Its
        norms give the accuracy for every radius.

        Args:
            sizes: radii, in units of images in [0, 1].
            attack: the attack's name.

        Raises:
            InputError: for an invalid argument.
        """
        sizes, attack = check_settings(EvaluationSession.eps_sweep, {"sizes": sizes, "attack": attack}).values()
        if not sizes:
            raise InputError("`sizes` must be at least one size, such as `sizes=(0, 2 / 255, 4 / 255)`. Received: none")
        bound = {size: next(iter(self.prepare([attack], size).values())) for size in sorted(set(sizes))}
        norms, found = None, {}
        if all(each.minimum_norm for each in bound.values()):
            (searched,) = self.accuracies([attack]).values()
            norms, found = searched.norms, {size: searched.within(size) for size in bound}
        else:
            self._begin()
            keys = {size: self._find(each, size) for size, each in bound.items()}
            self._forget(keys.values())
            for size, each in bound.items():
                self._compute(keys[size], each)
            found = {size: self.record.result(key, attack) for size, key in keys.items()}
        suffix = dataclasses.replace(self.key(attack), norm=None, eps=None).suffix
        name = f"eps_sweep {attack} {self.ball.norm}{suffix}"
        # Sizes of an earlier sweep stay in the curve.
        sweep = EpsSweep.recorded(attack, self.ball.norm, self.record.sections.get(name, {}))
        sweep = dataclasses.replace(sweep, norms=norms).joined(found)
        self.record.add_section(name, sweep.record())
        if self.record.path is None:
            return sweep
        place = re.sub("[^a-zA-Z0-9.-]+", "_", name).strip("_")
        run = self.subject.workdir
        return sweep.drawn(
            self.record.path.with_name(f"{self.record.path.stem}_{place}"),
            folder=None if run is None else run.tensorboard / "evaluation",
        )

    def audit(
        self,
        examples: Annotated[int, Range(20), "Audit on the first N images of the split."] = AUDITED,
        attacks: Attacks = (),
    ) -> Audit:
        """Looks for the signs of masked gradients; returns them all, raised or not.

        Args:
            examples: examine the first N images.
            attacks: the source of the first transfer attack among them is used for the sign about transfer; without
                one, that sign is left out.

        Raises:
            InputError: for an invalid argument.
        """
        (examples,) = check_settings(EvaluationSession.audit, {"examples": examples}).values()
        count = min(examples, len(self.examples))
        bound = self.prepare(attacks).values()
        self._begin()
        parts = [part.attack if isinstance(part, Rounded) else part for attack in bound for part in attack.attacks[:1]]
        source = next((part for part in parts if isinstance(part, TransferAttack)), None)
        suffix = self.key("", bits=False).suffix
        name = f"audit{suffix} on {count}" + (f", {source.name}" if source else "")
        content: dict[str, Any] = {
            "num_examples": count,
            "eps": self.ball.eps,
            "norm": self.ball.norm,
            "seed": self.options.seed,
            "examples": self.record.examples,
        }
        if source:
            content["source_sha256"] = source.source_digest
        known = self.record.sections.get(name, {})
        if self.options.recompute or any(known.get(key) != value for key, value in content.items()):
            found = self._signs(name, self.examples.take(slice(0, count)), source)
            self.record.add_section(name, {**content, "signs": [dataclasses.asdict(sign) for sign in found]})
        signs = tuple(Sign(**sign) for sign in self.record.sections[name]["signs"])
        autoattack = any(
            Key.read(key) == self.key("autoattack", bits=False) and self.record.is_of_these_images(key)
            for key in self.record.results
        )
        return Audit(signs, count, autoattack)

    def _signs(self, name: str, examples: Examples, source: TransferAttack | None) -> list[Sign]:
        def begin(attack: AttackSequence, labels: np.ndarray) -> Outcome:
            key = f"{name}: {attack.name}"
            self._forget([key])
            return self.record.begin(key, attack, labels, seed=self.options.seed)

        @functools.cache
        def shown(title: str) -> Callable | None:
            return self.progress.of_attack(f"audit: {title}")

        def progress(title: str, *news: Any) -> None:
            show = shown(title)
            if show is not None:
                show(*news)

        return masked_gradient_signs(
            self.subject.logits,
            examples,
            eps=self.ball.eps,
            norm=self.ball.norm,
            source=source.source if source else None,
            source_digest=source.source_digest if source else "",
            begin=begin,
            checkpoint=self.record.save_outcomes,
            progress=progress,
            **self._computation,
        )
