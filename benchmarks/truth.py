"""The one-layer models: when facts are memorized and when a truth direction is seen, with the controls.

    python benchmarks/truth.py
    python benchmarks/truth.py --only learned control --seeds 3

`learned` and `control` differ in one thing: whether the two facts of a sequence share their truth. `--language-model`
probes every layer of your own Hugging Face model on a file of statements.
"""

import argparse
import time

import torch

import vestige as vg
from vestige.core.rng import child

P = vg.probe
RUNS = ("toy", "toy control", "toy without norm", "learned", "control")


def run(name: str, seed: int, steps: int | None) -> None:
    begun, draw = time.process_time(), torch.Generator().manual_seed(seed)
    toy, n = name.startswith("toy"), 20 if name.startswith("toy") else 32
    law = P.TruthCoOccurrence(n=n, rho=0.8, independent="control" in name, generator=draw)
    kind = "none" if "without" in name else "rms"
    model = (
        P.ToyTruthModel(n, normalization=kind, generator=draw) if toy else P.LearnedTruthModel(n, 64, generator=draw)
    )
    rate = 0.3 if kind == "none" else None
    found = P.two_phase_report(model, law, steps=steps, every=200 if toy else 500, learning_rate=rate, generator=draw)
    print(
        f"\n{name}, seed {seed}: {found.verdict} Ceiling {found.ceiling:.3f}; {time.process_time() - begun:.0f} CPU s"
    )
    print("   step  P(g(x))  P(.|true)  P(.|false)  AUC before (y, x')  after (y, x')")
    for i, step in enumerate(found.steps):
        before, after = (t[i].tolist() for t in (found.auc_before, found.auc_after))
        blocks = "" if found.blocks is None else "  " + " ".join(f"{v:6.2f}" for v in found.blocks[i])
        print(f"  {step:5}  {found.p_first[i]:7.3f}  {found.p_true[i]:9.3f}  {found.p_false[i]:10.3f}"
              f"  {before[0]:8.3f} {before[1]:8.3f}  {after[0]:8.3f} {after[1]:6.3f}{blocks}", flush=True)  # fmt: skip


def language_model(folder: str, path: str, most: int) -> None:
    """AUC by layer of a mass-mean probe, cross-validated by subject, with layer 0 as the control."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    topic = P.read_statements(path).take(most, generator=child(0, "statements"))
    layers = [name for name, _ in model.named_modules() if name.rpartition(".")[2].isdecimal()]
    for layer in layers:
        x = P.activations(model, tokenizer, topic.texts, layer=layer)
        found = P.probe_transfer(x, topic.y, [topic.name] * len(x), groups=topic.groups)
        print(f"  {layer:24} AUC {found.auc.item():.3f}, shuffled {found.shuffled.item():.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=RUNS, default=RUNS)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--language-model", metavar="FOLDER")
    parser.add_argument("--data", metavar="CSV")
    parser.add_argument("--most", type=int, default=300)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.language_model:
        language_model(options.language_model, options.data, options.most)
        return
    for name in options.only:
        for seed in range(options.seeds):
            run(name, seed, options.steps)


if __name__ == "__main__":
    main()
