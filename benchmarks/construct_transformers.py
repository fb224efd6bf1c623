"""Constructed transformers in low precision, against plain Python, and beside trained ones.

    python benchmarks/construct_transformers.py
    python benchmarks/construct_transformers.py --only precision
    python benchmarks/construct_transformers.py --quick

Times are CPU seconds of one thread.
"""

import argparse
import time
from collections import Counter

import torch

import vestige as vg
from vestige.core.rng import child

SIZES = ((64, 50, 32), (256, 200, 43), (1024, 500, 50), (4096, 500, 50))  # length, vocabulary, dimension


def precision(quick: bool) -> None:
    """Share of exact counts in each dtype, of attending and of the histogram."""
    print("length vocab dim | attend: float32 bfloat16 float16 | histogram: float32 bfloat16 float16")
    for length, vocab, dim in SIZES[: 2 if quick else 4]:
        x = vg.construct.random_counts(vocab, length, 100 if quick else 400)
        rates = []
        for options in ({"dim": dim}, {"dim": vocab, "method": "histogram", "any_length": False}):
            built = vg.construct.build_counter(vocab, length, **options)
            dtypes = (torch.float32, torch.bfloat16, torch.float16)
            rates.append(vg.construct.precision_sweep(built, x, dtypes=dtypes).exact_rates)
        found = " | ".join(" ".join(f"{rate:.3f}" for rate in row) for row in rates)
        print(f"{length} {vocab} {dim} | {found}", flush=True)


def phase(quick: bool) -> None:
    """Accuracy of trained counters, vocabulary against dimension, and at twice the length."""
    dims, vocabs = (4, 16), (4, 32) if quick else (4, 8, 32)
    for dim in dims:
        for vocab in vocabs:
            start = time.process_time()
            (found,) = vg.construct.counting_phase([dim], [vocab], steps=50 if quick else 1500)
            print(
                f"d = {dim}, m = {vocab}: {found.accuracy:.3f} (constant {found.constant:.3f}), twice the length "
                f"{found.longer:.3f}; {time.process_time() - start:.0f} s",
                flush=True,
            )


def throughput(quick: bool) -> None:
    """Sequences a second against collections.Counter, in batches."""
    for length in (64, 512) if quick else (64, 512, 4096):
        model = vg.construct.build_counter(500, length, dim=50).network.float()
        for batch in (1, 64) if quick else (1, 64, 1024 if length < 4096 else 256):
            x = vg.construct.random_counts(500, length, batch)
            start, runs = time.process_time(), 0
            while time.process_time() - start < 0.5:
                model(x)
                runs += 1
            ours = batch * runs / (time.process_time() - start)
            rows, start, done = x.tolist(), time.process_time(), 0
            while time.process_time() - start < 0.5:
                Counter(rows[done % batch])[rows[done % batch][-1]]
                done += 1
            print(f"n = {length}, batch {batch}: {ours:,.0f} a second; collections.Counter {2 * done:,}", flush=True)


def composition(quick: bool) -> None:
    """What three solvers of tree-shaped questions cost, and whether they are right on random binary trees."""
    for n in (7, 15) if quick else (15, 63):
        asked = [vg.construct.random_question(n, 2, most_children=2, generator=child(k, "trees")) for k in range(20)]
        height = max(question.height for question in asked)
        deep = vg.construct.build_crq_transformer(n, 2, height)
        rnn = vg.construct.build_crq_rnn(n, 2)
        chain = vg.construct.build_crq_chain_of_thought(n, 2)
        codes = {made: made.specification.given for made in (deep, chain)}
        right = [0, 0, 0]
        for question in asked:
            wanted = question.answers()[question.root]
            tokens = vg.construct.question_tokens(question, codes[deep])
            right[0] += torch.equal(deep.network(tokens)[0].round(), wanted)
            right[1] += torch.equal(rnn.network(vg.construct.question_steps(question))[0], wanted)
            written = vg.construct.solve_by_chain(chain.network, question, torch.from_numpy(codes[chain]))
            right[2] += torch.equal(written[-1], wanted)
        sizes = [sum(p.numel() for p in made.network.parameters()) for made in (deep, rnn, chain)]
        print(
            f"n = {n}: deep {height} layers, {sizes[0]:,} weights; stack {rnn.numbers['slots']} slots, {sizes[1]:,}; "
            f"chain {sizes[2]:,}, {sum(map(bool, asked[0].children))} tokens; right of 20: {right}",
            flush=True,
        )


PARTS = {"composition": composition, "precision": precision, "throughput": throughput, "phase": phase}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, action="append")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.only or PARTS:
        print(f"== {name}")
        PARTS[name](options.quick)


if __name__ == "__main__":
    main()
