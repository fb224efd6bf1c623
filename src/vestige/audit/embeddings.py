"""`--backbone`: data go through the frozen backbone before they meet the head that is audited."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from vestige.audit.truth import Truth
from vestige.cli.progress import progress_bar
from vestige.core.space import InputSpace
from vestige.data.dataset import DataSet
from vestige.data.load import load_data
from vestige.data.texts import load_texts
from vestige.nets.backbones import Backbone, embed, load_backbone
from vestige.reconstruct.embeddings.retrieval import best_rank, nearest_in_gallery
from vestige.reconstruct.result import Reconstruction


@dataclass(frozen=True)
class Embedder:
    """Loads data as embeddings: `texts:FOLDER` or images, through one backbone."""

    name: str
    backbone: Backbone
    width: int

    def __call__(self, spec: str) -> DataSet:
        kind, _, path = spec.partition(":")
        if kind == "texts":
            inputs, y, classes = load_texts(Path(path).expanduser())
        else:
            images = load_data(spec)
            inputs, y, classes = images.x.float(), images.y, images.classes
        try:
            with progress_bar("embedding") as bar:
                x = embed(self.backbone, inputs, on_step=lambda step: bar(replace(step, note="embedding")))
        except (RuntimeError, TypeError, AttributeError) as error:
            raise ValueError(
                f"the backbone {self.name!r} does not take the data {spec!r} ({type(error).__name__}: {error}); text "
                "backbones take texts:FOLDER, image backbones images of three channels."
            ) from error
        if x.shape[1] != self.width:
            raise ValueError(
                f"the head takes inputs of {self.width} numbers and the backbone {self.name!r} returns {x.shape[1]}; "
                "they must agree. Is it the backbone that the head was trained on?"
            )
        made = f"{spec} through {self.name}"
        return DataSet(made, x, y, classes, InputSpace(-math.inf, math.inf), made)


def embedder(text: str, width: int) -> Embedder:
    """The backbone named on the command line, for a head of this many inputs."""
    return Embedder(text, load_backbone(text), width)


def retrieval(found: Reconstruction, truth: Truth, space: InputSpace | None, like: torch.Tensor) -> dict[str, Any]:
    """What the nearest entry of the gallery, training and held-out data together, says of each sample."""
    parts = [truth.train.x, *([truth.held_out.x] if truth.held_out is not None else [])]
    gallery = torch.cat(parts).to(like)
    gallery = gallery if space is None else space.to_model(gallery)
    samples, count = found.samples.flatten(1), len(truth.train)
    rank = best_rank(samples, gallery, torch.arange(count))
    likely = found.confidence >= 0.5
    hits = torch.ones(len(samples), dtype=torch.bool, device=samples.device)
    if len(gallery) > count:  # a tie with an input that the head never saw is no hit
        hits = _nearest(samples, gallery[:count]) > _nearest(samples, gallery[count:])
    return {
        "gallery": len(gallery),
        "training": count,
        "rank_1": int((rank == 1).sum()),
        "rank_1_by_chance": _by_chance(samples, gallery, count),
        "within_10": int((rank <= 10).sum()),
        "likely": int(likely.sum()),
        "likely_in_training": int((hits & likely).sum()),
    }


def _nearest(samples: torch.Tensor, gallery: torch.Tensor) -> torch.Tensor:
    return nearest_in_gallery(samples, gallery, top=1).similarity[:, 0]


def _by_chance(samples: torch.Tensor, gallery: torch.Tensor, count: int) -> float | None:
    """How many of as many inputs that were never seen are first; None without held-out data."""
    if len(gallery) == count:
        return None
    unseen = best_rank(samples, gallery, torch.arange(count, len(gallery)))
    return float((unseen == 1).double().mean() * count)
