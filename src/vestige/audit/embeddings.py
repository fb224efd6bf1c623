"""Heads on a frozen backbone: data go through the backbone before they meet the head that is audited."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from scipy.stats import hypergeom

from vestige.audit.job import Job
from vestige.audit.truth import Data, Truth, read_data
from vestige.core.outcome import OnStep
from vestige.core.space import UNBOUNDED, InputSpace
from vestige.data.dataset import DataSet
from vestige.data.texts import load_texts
from vestige.nets.backbones import Backbone, embed, load_backbone
from vestige.reconstruct.embeddings.retrieval import best_rank, nearest_in_gallery
from vestige.reconstruct.result import Reconstruction


@dataclass(frozen=True)
class Embedder:
    """Loads data as embeddings through one backbone: `texts:FOLDER`, images by name, or inputs in memory."""

    name: str
    backbone: Backbone
    width: int
    job: Job

    def __call__(self, given: Data) -> DataSet:
        inputs, y, classes = _inputs(given)
        shown = given if isinstance(given, str) else "in memory"
        try:
            with self.job.phase("embedding") as on_step:
                x = embed(self.backbone, inputs, on_step=on_step)
        except (RuntimeError, TypeError, AttributeError) as error:
            raise ValueError(
                f"the backbone {self.name!r} does not take the data {shown!r} ({type(error).__name__}: {error}); text "
                "backbones take texts:FOLDER, image backbones images of three channels."
            ) from error
        if x.shape[1] != self.width:
            raise ValueError(
                f"the head takes inputs of {self.width} numbers and the backbone {self.name!r} returns {x.shape[1]}; "
                "they must agree. Is it the backbone that the head was trained on?"
            )
        made = f"{shown} through {self.name}"
        return DataSet(name=made, x=x, y=y, classes=classes, space=UNBOUNDED, provenance=made)


def _inputs(given: Data) -> tuple[Any, torch.Tensor, tuple[str, ...]]:
    """What the backbone takes, the labels, and the names of the classes."""
    kind, _, path = given.partition(":") if isinstance(given, str) else ("", "", "")
    if kind == "texts":
        return load_texts(Path(path).expanduser())
    images = read_data(given)
    return images.x.float(), images.y, images.classes


def embedder(text: str, width: int, on_step: OnStep | None = None) -> Embedder:
    """The backbone of this name, for a head of this many inputs."""
    return Embedder(text, load_backbone(text), width, Job(None, on_step))


def retrieval(found: Reconstruction, truth: Truth, space: InputSpace | None, like: torch.Tensor) -> dict[str, Any]:
    """What the nearest entry of the gallery, training and held-out data together, says of each sample.

    Its null is a shuffled gallery. Of g entries, F are first for the sample nearest to them; were the n training inputs
    any n of them, the number among them would be hypergeometric: n F / g in the mean, and at least as many as were
    found with probability `rank_1_p`. Both are None without held-out data.
    """
    parts = [truth.train.x, *([truth.held_out.x] if truth.held_out is not None else [])]
    gallery = torch.cat(parts).to(like)
    gallery = gallery if space is None else space.to_model(gallery)
    samples, count, every = found.samples.flatten(1), len(truth.train), len(gallery)
    rank = best_rank(samples, gallery, torch.arange(every))
    first, own = int((rank == 1).sum()), int((rank[:count] == 1).sum())
    likely = found.confidence >= 0.5
    hits = torch.ones(len(samples), dtype=torch.bool, device=samples.device)
    if every > count:  # a tie with an input that the head never saw is no hit
        hits = _nearest(samples, gallery[:count]) > _nearest(samples, gallery[count:])
    return {
        "gallery": every,
        "training": count,
        "rank_1": own,
        "rank_1_by_chance": count * first / every if every > count else None,
        "rank_1_p": float(hypergeom.sf(own - 1, every, first, count)) if every > count else None,
        "within_10": int((rank[:count] <= 10).sum()),
        "likely": int(likely.sum()),
        "likely_in_training": int((hits & likely).sum()),
    }


def _nearest(samples: torch.Tensor, gallery: torch.Tensor) -> torch.Tensor:
    return nearest_in_gallery(samples, gallery, top=1).similarity[:, 0]
