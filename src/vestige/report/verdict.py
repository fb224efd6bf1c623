"""What an audit found, in one sentence that claims no more than was measured."""

from collections.abc import Iterable, Mapping
from typing import Any

from vestige.core.choices import ChoiceEnum

UNEVEN = 1e-3  # p-value below which a null of membership is not at chance
OUT_OF_REACH = 1 - 1e-9  # a threshold that not even a copy passes
ROWS = "first-layer rows"  # the null that is made of the weights themselves: where it is close, no attack is needed
PLAIN = ("Linear", "Conv2d")  # layers of which the theory leaves out a late bias only
LIKELY = 0.5  # presented samples at or above this confidence are called likely


class Level(ChoiceEnum):
    """How alarming the verdict is; the report colors it."""

    LEAKS = "leaks"
    SOME = "some"
    NOTHING = "nothing"
    UNKNOWN = "unknown"


def verdict(results: Mapping[str, Any]) -> tuple[Level, str]:
    """Level and sentence for the results of an audit.

    Args:
        results: with keys "reconstruction" and, when the training data were given, "score" and "membership".

    Returns:
        The level and one sentence.

    >>> verdict({"reconstruction": {"collapse": False}, "score": {"n": 20, "n_recovered": 0, "rate": 0.001}})[0].value
    'nothing'
    """
    score, found = results.get("score"), results["reconstruction"]
    seen = "scores" if results.get("queried") else "weights"
    if score and not score["n_recovered"] and (why := misfit(results)):
        return Level.UNKNOWN, why
    level, sentence = _scored(score, seen) if score else _unscored(found, seen)
    if level is Level.NOTHING and (why := _unexplained(results)):
        level, sentence = Level.UNKNOWN, why
    asked = results.get("membership") or {}
    if level in (Level.NOTHING, Level.UNKNOWN) and asked.get("level") in (Level.LEAKS, Level.SOME):
        return Level(asked["level"]), f"{asked['verdict']} {sentence}"
    return level, sentence


def membership_verdict(section: Mapping[str, Any]) -> tuple[Level, str]:
    """Level and sentence for the question which samples a network holds.

    Args:
        section: "n", "n_reference", "n_held", "rate", "differs", "blind_auc", "nulls" and "curve" of an audit.

    >>> row = {"n": 100, "n_reference": 200, "n_held": 3, "rate": 0.05, "differs": False, "nulls": [], "curve": None}
    >>> membership_verdict(row)[1]
    '3 of 100 candidates are named as training samples, of which 5 % are expected to be wrong.'
    """
    if section["n_reference"] is None:
        return Level.UNKNOWN, "Candidates were ranked; without samples that the model never saw none can be named."
    uneven = [null for null in section["nulls"] if null["must"] and (null["uniform"] or 0.0) <= UNEVEN]
    if section["differs"] or uneven:
        why = (
            f"candidates and reference differ without the network (AUC {section['blind_auc']:.2f})"
            if section["differs"]
            else f"the null {uneven[0]['name']!r} is not at chance"
        )
        return Level.UNKNOWN, f"No training sample is named: {why}, so that a high score need not mean membership."
    if section["curve"] is not None:
        return _curved(section["curve"])
    held, total = section["n_held"], section["n"]
    if held == 0:
        return Level.NOTHING, (
            f"None of {total} candidates is told from unseen samples: the weights do not show that they were used, "
            "which does not prove that they were not."
        )
    verb = "is named as a training sample" if held == 1 else "are named as training samples"
    return Level.LEAKS if 4 * held >= total else Level.SOME, (
        f"{held} of {total} candidates {verb}, of which {100 * section['rate']:g} % are expected to be wrong."
    )


def _curved(curve: Mapping[str, Any]) -> tuple[Level, str]:
    (common, rare), by_loss = curve["weights"]["rates"], curve["loss"]["rates"]
    if not common["low"] > common["false"]:
        return Level.NOTHING, (
            f"At 1 % false alarms {common['true']:.1%} of {curve['members']} training samples are told from unseen "
            "ones: no more than chance explains."
        )
    return Level.LEAKS if common["true"] >= 0.25 else Level.SOME, (
        f"The weights tell {common['true']:.1%} of {curve['members']} training samples from unseen ones at 1 % false "
        f"alarms and {rare['true']:.1%} at 0.1 % (the loss {by_loss[0]['true']:.1%} and {by_loss[1]['true']:.1%})."
    )


def misfit(results: Mapping[str, Any]) -> str | None:
    """Why nothing can be said with these data, one sentence; None where they fit the model, or nobody has looked."""
    fit = results.get("fit")
    if not fit or fit["fits"]:
        return None
    return f"Inconclusive: these data do not fit this model ({'; '.join(fit['reasons'])})."


def unsaid(warnings: Iterable[str], sentence: str) -> list[str]:
    """Each warning once, without those that the verdict says already.

    >>> unsaid(["loss 4", "no mean", "no mean"], "Inconclusive: loss 4.")
    ['no mean']
    """
    return [warning for warning in dict.fromkeys(warnings) if warning not in sentence]


def _unexplained(results: Mapping[str, Any]) -> str | None:
    """Why nothing can be said where the given samples explain the weights worse than no samples at all would."""
    known = results.get("stationarity") or {}
    left = known.get("residual_clarke")
    left = known.get("residual") if left is None else left
    if left is None or left <= 1:
        return None
    layers = (results.get("theory") or {}).get("layers") or []
    kinds = dict.fromkeys(layer["kind"] for layer in layers if not layer["covered"] and layer["kind"] not in PLAIN)
    beyond = f"{', '.join(kinds)}, which the equation does not cover; " if kinds else ""
    return (
        f"Inconclusive: at these samples training's equation misses the weights by {left:.3g} times their size. "
        f"Likely causes: {beyond}another normalization (--mean, --std, --range), activation or order of layers "
        "(--arch), or labels than in training; training that ended early."
    )


def _scored(score: Mapping[str, Any], seen: str) -> tuple[Level, str]:
    count, total, rate = score["n_recovered"], score["n"], f"{100 * score['rate']:g} %"
    nulls = {null["name"]: null["n_recovered"] or 0 for null in score.get("nulls", ())}
    from_weights = nulls.pop(ROWS, 0)
    best = max(nulls, key=lambda name: nulls[name], default="")
    if count == 0 and (score.get("threshold") or 0) >= OUT_OF_REACH:
        return Level.UNKNOWN, (
            f"Inconclusive: {'one sample' if total == 1 else f'{total} samples'} cannot be judged against chance, "
            "which comes as near here as a copy would. Give unseen samples like them (--held-out)."
        )
    if count == 0:
        none = "The one training sample was not" if total == 1 else f"None of the {total} training samples was"
        return Level.NOTHING, (
            f"{none} recovered beyond what chance reaches in {rate} of comparisons: "
            "this attack found nothing, which does not prove that nothing leaks."
        )
    share = f"{'All' if count == total else f'{count} of the'} {total} training samples"
    share = "The one training sample" if total == 1 else share
    verb = "is" if count == 1 else "are"
    if nulls.get(best, 0) >= count:
        equal = "as close" if total == 1 else f"as close to {nulls[best]}"
        return Level.UNKNOWN, (
            f"{share} {verb} close to a reconstruction, but {best} come {equal}: this comparison shows no leak."
        )
    if not score.get("held_out", True):
        return Level.SOME, (
            f"{share} {verb} closer to a reconstruction than noise comes; without held-out "
            f"data this does not show that the {seen} gave away more than what all such samples share."
        )
    level = Level.LEAKS if 4 * count >= total else Level.SOME
    verb = "was" if count == 1 else "were"
    plain = "; rows of the first layer come as close without any search" if from_weights >= count else ""
    return level, (
        f"{share} {verb} read back from the {seen} alone, each closer to a reconstruction "
        f"than all but {rate} of unrelated comparisons come{plain}."
    )


def _unscored(found: Mapping[str, Any], seen: str) -> tuple[Level, str]:
    """Found, nothing found, or inconclusive."""
    if found.get("doubt"):
        return Level.UNKNOWN, f"Inconclusive: {found['doubt']}. This says neither that samples leak nor that none does."
    likely = sum(value >= LIKELY for value in found.get("confidence", ()))
    if not likely and found.get("identifiable") and found.get("outcome") != "not_finite":
        return Level.NOTHING, (
            f"No training sample was found in the {seen}, although they tell {found['identifiable']} apart: no "
            "reconstruction is likely, which does not prove that nothing leaks."
        )
    if not likely:
        return Level.UNKNOWN, (
            "Inconclusive: no reconstruction is confident enough to be called a likely training sample; "
            "give --data to measure it against the truth."
        )
    told = found.get("identifiable") or likely
    if likely > told:  # several of one sample
        what = f"{likely} likely reconstructions of at most {told} training sample{'s' if told > 1 else ''}"
    else:
        what = f"{likely} likely training sample{'s' if likely > 1 else ''}"
    verified = sum(map(bool, found.get("verified", ())))
    test = "fit the first layer's equations" if seen == "weights" else "pass the check by held-out queries"
    exact = f", {verified} of which {test}" if verified else ""
    return Level.SOME, (
        f"The {seen} alone yield {what} (confidence {LIKELY:g} or more){exact}; "
        "without the training data this is an estimate, not a measurement."
    )
