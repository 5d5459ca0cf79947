"""BML, AGKD and AGKD-BML: what they share, and what each adds to it."""

import numpy as np
import pytest

# What the paper's code has, without `mart`, and settings under which every term is large.
PAPER = {
    "label_smoothing": 0.5,
    "attention_weight": 1.0,
    "triplet_weight": 2.0,
    "margin": 0.03,
    "norm_weight": 0.001,
}
LARGE = {
    "label_smoothing": 0.3,
    "mart": True,
    "mart_beta": 5.0,
    "attention_weight": 1.5,
    "triplet_weight": 0.7,
    "margin": 0.4,
    "norm_weight": 0.2,
}
METRIC = {"triplet_weight", "margin", "norm_weight"}
WITHOUT = {"bml": {"attention_weight"}, "agkd": METRIC, "agkd_bml": set()}


@pytest.mark.parametrize("settings", [PAPER, LARGE], ids=["as in the paper", "with all terms"])
@pytest.mark.parametrize("name", WITHOUT)
def test_the_loss_equals_its_formula_in_numpy(bench, formulas, name, settings):
    given = {} if settings is PAPER else {key: settings[key] for key in set(settings) - WITHOUT[name]}
    defense = bench.defense(name, **given)
    crafted, labels = bench.craft(defense)
    clean, y = bench.batch()[0], labels.numpy()
    joint = defense.classifier(np.concatenate([crafted["forward"], clean, crafted["backward"]]), training=True)
    features, embeddings, logits = (np.split(np.float64(tensor), 3) for tensor in joint)
    terms = {"cross_entropy": formulas.cross_entropy(logits[0], y, settings["label_smoothing"])}
    weights = {"cross_entropy": 1.0}
    if settings.get("mart"):
        terms["boosted_margin"] = formulas.boosted_margin(logits[0], y)
        terms["weighted_divergence"] = formulas.weighted_divergence(logits[1], logits[0], y)
        weights |= {"boosted_margin": 1.0, "weighted_divergence": settings["mart_beta"]}
    if name != "agkd":
        distances = [formulas.distance(embeddings[0], other) for other in embeddings[1:]]
        terms["triplet"] = np.maximum(0, settings["margin"] + distances[0] - distances[1]).mean()
        terms["embedding_norm"] = sum((h**2).mean() for h in embeddings)
        outer = settings["triplet_weight"]
        weights |= {"triplet": outer, "embedding_norm": outer * settings["norm_weight"]}
    if name != "bml":
        seen = [formulas.normalised(features[part].sum(-1)) for part in (0, 2)]
        taught = (formulas.normalised(np.float64(defense.guide(x).features).sum(-1)) for x in (clean, crafted["other"]))
        terms["attention"] = sum(np.abs(a - b).mean() for a, b in zip(seen, taught, strict=True))
        weights["attention"] = settings["attention_weight"]
    expected = terms | {"loss": sum(weights[term] * value for term, value in terms.items())}
    assert min(terms.values()) > 0
    assert bench.losses(defense, crafted, labels) == pytest.approx(expected, rel=1e-4)
