"""What the words of a report mean, for a reader who has not seen one; each page explains those that stand on it."""

import re

WORDS = {
    "AUC": "the chance that a true case is ranked above a false one; 0.5 is a guess",
    "candidate": "an input that may be a training sample: made by the attack, or one that is asked about",
    "certificate": "claims with a bound each, checked on the stored weights",
    "confidence": "how likely a reconstruction shows a training sample, estimated without the training data",
    "exact fit": "a reconstruction that satisfies the first layer's equations, or passes a check by further queries",
    "gate": "whether a neuron with ReLU is open or closed for an input",
    "held-out": "of samples like the training data that the model never saw; they show what chance reaches",
    "homogeneous": "of a network whose outputs scale with a power of its weights; theory of margins needs it",
    "kink": "where a gate changes, and the derivative of the network is one of many",
    "margin": "by how much an output favors the right class",
    "null": "a comparison with something that knows nothing of the training data, such as noise",
    "residual": "the share of the weights that the equation of stationarity leaves unexplained",
    "restart": "one of several searches from different random starts",
    "robust accuracy": "the share of samples that stay right under every perturbation that was tried",
    "stage": "one attack of several; each is given what the one before it could not fool",
    "stationar": "of weights that are a weighted sum of gradients at the training samples, as training makes them",
    "tug of war": "one number for unlearning: accuracy on forgotten, kept and unseen samples beside retraining",
}
SHOWN = {"stationar": "stationary"}  # a word and its relatives


def words_of(text: str) -> list[tuple[str, str]]:
    """The words that stand in a text, in order, with their meanings.

    >>> [word for word, _ in words_of("found in 3 restarts")]
    ['restart']
    """
    plain = re.sub("<[^>]*>", " ", text).lower()
    known = WORDS.items()
    return [(SHOWN.get(word, word), meaning) for word, meaning in known if re.search(rf"\b{word.lower()}", plain)]
