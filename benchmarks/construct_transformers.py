"""Constructed transformers in low precision, against plain Python, and beside trained ones.

    python benchmarks/construct_transformers.py
    python benchmarks/construct_transformers.py --only precision
    python benchmarks/construct_transformers.py --quick

Times are CPU seconds of one thread.
"""

import argparse
import time
from collections import Counter
from collections.abc import Callable
from statistics import fmean

import networkx as nx
import torch
from torch.nn import functional

import vestige as vg
from vestige.core.rng import child

RECALL = (  # subjects, dimension, neurons, weight decay
    (512, 32, 256, 0.3), (512, 32, 256, 1.0), (512, 32, 256, 3.0), (512, 32, 64, 1.0), (512, 64, 256, 1.0),
    (1024, 32, 256, 1.0), (1024, 64, 512, 1.0), (512, 64, 256, 0.0),
)  # fmt: skip
NOISY = ((1024, 32, 512, False), (1024, 64, 512, False), (1024, 64, 512, True))  # subjects, dimension, neurons, frozen
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


def kernels(quick: bool) -> None:
    """The error that random heads leave, by the closed form and on samples, with keys as the authors' code has them."""
    for dim, heads in ((8, 64), (8, 256), (16, 256)):
        for unit in (False, True):
            formula, measured = [], []
            for seed in range(1 if quick else 8):
                draw = child(seed, "heads")
                q, other = (functional.normalize(torch.randn(heads, dim, generator=draw).double()) for _ in range(2))
                t = 2 * torch.rand(heads, 1, generator=draw).double() - 1
                across = other - (other * q).sum(1, keepdim=True) * q
                k = t * q + (1 - t * t).sqrt() * (functional.normalize(across) if unit else across)
                weights, error = vg.construct.optimal_head_weights(q, k)
                y, w = (torch.randn(20_000, dim, generator=draw).double() for _ in range(2))
                votes, target = (y @ q.T * (w @ k.T)).sign(), (y * w).sum(1).sign()
                formula.append(error / 2)
                measured.append(float((votes @ weights - target).square().mean()) / 2)
            keys = "of length 1" if unit else "not normalized again"
            print(
                f"d = {dim}, {heads} heads, keys {keys}: {fmean(formula):.3f}, samples {fmean(measured):.3f}",
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


def recall(quick: bool) -> None:
    """Random superpositions against the dimension, and trained networks beside the frozen control; least squares."""
    unit = 2 * torch.tensor(1024.0).log().item()
    for factor in (1.2, 2.4, 4.6):
        facts = vg.construct.random_facts(1024, 2)
        built = vg.construct.build_factual_recall(facts, dim=round(factor * unit))
        print(f"dim {factor} R ln N: recall {vg.construct.recall_accuracy(built.network, facts):.3f}", flush=True)
    n, relations, dim = (64, 2, 8) if quick else (256, 3, 32)
    for seed in range(1 if quick else 3):
        draw = child(seed, "recall")
        facts, new = (vg.construct.random_facts(n, relations, generator=child(seed, name)) for name in ("facts", "new"))
        for frozen in (False, True):
            start, decay = time.process_time(), 0.0 if frozen else 0.3
            options = {"weight_decay": decay, "frozen": frozen, "steps": 50 if quick else 1500, "learning_rate": 3e-3}
            trained = vg.construct.train_recall(facts, dim, 256, **options, generator=draw)
            model = trained.model
            found = vg.construct.fit_superposition(model.subject, model.attribute, facts, shrink=False, generator=draw)
            refined = vg.construct.refine_maps(model, found, steps=20 if quick else 300, generator=draw)
            fitted, better = (vg.construct.transferred_accuracy(model, maps, new) for maps in (found, refined))
            edits = vg.construct.edit_rates(model, found, facts, generator=draw)
            table = vg.construct.gate_table(model, facts)
            own = table.ablated.diagonal().mean()
            other = (table.ablated.sum() - table.ablated.trace()) / (relations * (relations - 1))
            print(
                f"seed {seed} {'frozen' if frozen else 'learned'}: recall {trained.accuracy:.3f}, R2 {found.r2:.3f} "
                f"(shuffled {found.shuffled_r2:.3f}), probes {min(found.probes):.3f}, transfer {fitted:.3f}, refined "
                f"{better:.3f}; edits {edits.changed:.3f} kept {edits.kept:.3f}; ablated own {own:.3f} other "
                f"{other:.3f}; {time.process_time() - start:.0f} s",
                flush=True,
            )


def recall_sizes(quick: bool) -> None:
    """Superpositions and transfer with more subjects, other widths and more weight decay; the last one is frozen."""
    for n, dim, hidden, decay in ((64, 8, 16, 0.3), (64, 8, 16, 0.0)) if quick else RECALL:
        facts, new = (vg.construct.random_facts(n, 2, generator=child(0, name)) for name in ("facts", "new"))
        draw, steps, frozen = child(0, "recall"), 20 if quick else 1000, not decay
        trained = vg.construct.train_recall(
            facts, dim, hidden, weight_decay=decay, frozen=frozen, steps=steps, generator=draw
        )
        model = trained.model
        found = vg.construct.fit_superposition(model.subject, model.attribute, facts, shrink=False, generator=draw)
        transfer = vg.construct.transferred_accuracy(model, found, new)
        print(
            f"N = {n}, d = {dim}, {hidden} neurons, decay {decay}{', frozen' if frozen else ''}: recall "
            f"{trained.accuracy:.3f}, R2 {found.r2:.3f} (shuffled {found.shuffled_r2:.3f}), probe "
            f"{min(found.probes):.3f}, transfer {transfer:.3f}",
            flush=True,
        )


def recall_noise(quick: bool, seed: int) -> None:
    """Superpositions and transfer where noise is added to the stream in training, beside the frozen control."""
    for n, dim, hidden, frozen in ((64, 8, 16, False), (64, 8, 16, True)) if quick else NOISY:
        facts, new = (vg.construct.random_facts(n, 2, generator=child(seed, name)) for name in ("facts", "new"))
        start, draw, steps = time.process_time(), child(seed, "recall"), 20 if quick else 500
        decay, noise = (0.0, 0.0) if frozen else (0.3, 1.0)
        trained = vg.construct.train_recall(
            facts, dim, hidden, weight_decay=decay, noise=noise, frozen=frozen, steps=steps, generator=draw
        )
        model, transfers = trained.model, []
        for shrink in (True, False):
            found = vg.construct.fit_superposition(model.subject, model.attribute, facts, shrink=shrink, generator=draw)
            transfers.append(vg.construct.transferred_accuracy(model, found, new))
        print(
            f"seed {seed}, N = {n}, d = {dim}, {hidden} neurons{', frozen' if frozen else ''}: recall "
            f"{trained.accuracy:.3f}, R2 {found.r2:.3f} (shuffled {found.shuffled_r2:.3f}), probe "
            f"{min(found.probes):.3f}, transfer {transfers[0]:.3f}, by least squares {transfers[1]:.3f}; "
            f"{time.process_time() - start:.0f} s",
            flush=True,
        )


def graphs(quick: bool) -> None:
    """Graphs a second against networkx, in batches."""
    for n in (20,) if quick else (20, 50, 100):
        x = vg.construct.random_graphs(n, 32 if quick else 1000, density=0.3)
        tokens = vg.construct.graph_tokens(x).float()
        others = [nx.from_numpy_array(a.numpy()) for a in x[:100]]
        rows = [
            ("triangles", vg.construct.build_triangle_counter(n), lambda graph: sum(nx.triangles(graph).values()) // 3),
            ("connectivity", vg.construct.build_connectivity(n), nx.is_connected),
        ]
        for name, built, theirs in rows:
            model = built.network.float()
            right = all(
                int(model(t[None]).round()) == int(theirs(graph)) for t, graph in zip(tokens, others, strict=False)
            )
            known = _rate(lambda k, theirs=theirs, others=others: theirs(others[k % len(others)]), 1)
            ours = []
            for batch in (1, 32) if quick else (1, 32, 256, 1000):
                parts = tokens.split(batch)
                ours.append((batch, _rate(lambda k, model=model, parts=parts: model(parts[k % len(parts)]), batch)))
            said = ", ".join(f"{rate:,.0f} in batches of {batch} ({rate / known:.1f}x)" for batch, rate in ours)
            print(f"{name}, n = {n}: networkx {known:,.0f} a second; {said}; right: {right}", flush=True)


def _rate(run: Callable[[int], object], batch: int) -> float:
    start, done = time.process_time(), 0
    while time.process_time() - start < 0.5:
        run(done)
        done += 1
    return batch * done / (time.process_time() - start)


def leaks(quick: bool) -> None:
    """What trivial rules and a trained encoder get on graphs as they are often made, and with their nodes permuted."""
    n, count = (16, 60) if quick else (50, 400)
    x, y = vg.construct.connectivity_graphs(n, count, permute=False)
    new, label = vg.construct.connectivity_graphs(n, count, permute=False, generator=child(1, "new"))
    for name, graphs, test in (
        ("as made", x, new),
        ("permuted", vg.construct.permuted_graphs(x), vg.construct.permuted_graphs(new)),
    ):
        print(f"{name}:\n{vg.construct.leak_audit(graphs, y)}", flush=True)
        steps, shapes = (5, [(1, 8)]) if quick else (400, [(1, 64), (4, 32)])
        for found in vg.construct.fit_graphs(graphs, y, held_out=(test, label), shapes=shapes, steps=steps):
            print(
                f"  depth {found.depth}, width {found.width}, {found.weights:,} weights: {found.accuracy:.3f}",
                flush=True,
            )


PARTS = {
    "recall": recall,
    "recall_sizes": recall_sizes,
    "recall_noise": lambda quick: [recall_noise(quick, seed) for seed in range(1 if quick else 3)],
    "graphs": graphs,
    "leaks": leaks,
    "composition": composition,
    "kernels": kernels,
    "precision": precision,
    "throughput": throughput,
}


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
