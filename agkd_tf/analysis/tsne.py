"""t-SNE of embeddings: maps them to two dimensions and keeps neighbors together."""

import numpy as np
from sklearn.manifold import TSNE
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits

from agkd_tf.errors import InputError

PERPLEXITY, LEARNING_RATE, ITERATIONS = 15, 20.0, 5000


def tsne(
    embeddings: np.ndarray,
    *,
    perplexity: float = PERPLEXITY,
    learning_rate: float = LEARNING_RATE,
    iterations: int = ITERATIONS,
    seed: int = 0,
) -> np.ndarray:
    """Maps embeddings to points in the plane that preserve neighborhoods by cosine distance.

    To compare clean and adversarial images in one plane, pass them together.

    Args:
        embeddings: float32 [N, K].
        perplexity: effective number of neighbors, less than N.
        learning_rate, iterations: settings of the fit.
        seed: integer.

    Returns:
        float32 [N, 2].

    Raises:
        InputError: if there are too few images for the perplexity.

    Source: van der Maaten and Hinton, Visualizing Data using t-SNE, JMLR 2008; the settings are those of SML's script.
    """
    if len(embeddings) <= perplexity:
        raise InputError(
            f"`perplexity` must be less than the number of images, {len(embeddings)}. Received: {perplexity}"
        )
    fit = TSNE(
        perplexity=perplexity,
        learning_rate=learning_rate,
        max_iter=iterations,
        metric="cosine",
        init="pca",
        random_state=seed,
    )
    # For a few thousand points, one thread is as fast as many, and leaves the other cores free.
    with threadpool_limits(1):
        return fit.fit_transform(normalize(embeddings))
