"""Which samples a network holds: a page of its own, and a section of the audit's.

results.json        verdict, level, model, membership (see `vestige.audit.candidates`), warnings, citations
samples.safetensors "held" (k, ...) in data space, the surest first; "scores", "p_values", "q_values", "position"
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup
from torch import Tensor

from vestige.report.figures import curves
from vestige.report.page import template, write_page
from vestige.report.picture import Drawn, painter
from vestige.runs.folder import RunFolder

NAMES = {"weights": "weights", "loss": "loss alone"}


@dataclass(frozen=True)
class Held:
    """A sample with a high score as it is drawn, and what is known of it."""

    picture: Drawn
    caption: str
    remark: str
    right: bool | None


def write_membership_report(run: RunFolder) -> Path:
    """Write report.html into the folder of a finished membership audit.

    Raises:
        RunError: there are no results yet, or not those of such an audit.
    """
    return write_page(run, "samples", render_membership, "a membership audit")


def render_membership(manifest: Mapping[str, Any], results: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """The page as text: no script, nothing loaded from elsewhere, every name escaped."""
    return template("membership.html.jinja").render(
        verb="membership",
        level=results["level"],
        verdict=results["verdict"],
        warnings=results["warnings"],
        results=results,
        manifest=manifest,
        held=held(results, tensors),
        membership_chart=membership_chart(results["membership"]),
    )


def membership_chart(section: Mapping[str, Any] | None) -> Markup | None:
    """True against false positive rate on logarithmic axes, where the truth is known."""
    curve = (section or {}).get("curve")
    if curve is None:
        return None
    series = {shown: curve[name]["true"] for name, shown in NAMES.items()} | {"chance": curve["false"]}
    drawn = curves(
        curve["false"], series, xlabel="false positive rate", ylabel="members that are named", logarithmic=True
    )
    return Markup(drawn.decode())


def held(results: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> list[Held]:
    """The highest scores, with pictures."""
    draw = painter(results, tensors["held"])
    return [
        Held(
            picture=draw(picture),
            caption=f"score {row['score']:.2f}" if row["q_value"] is None else f"q {row['q_value']:.2g}",
            remark="unseen" if row["position"] < 0 else f"sample {row['position']}",
            right=row["member"],
        )
        for row, picture in zip(results["membership"]["held"], tensors["held"], strict=True)
    ]
