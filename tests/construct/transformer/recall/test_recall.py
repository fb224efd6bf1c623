"""Networks that recall facts: exact for every question, by an MLP that knows none, edited without side effects."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import vestige as vg

BUILD = vg.construct


def claims(built):
    return {claim.name: claim.measured for claim in built.certificate.claims}


def compose(facts, subject, path):
    for relation in path:
        subject = int(facts[subject, relation])
    return subject


@pytest.mark.parametrize("n", [50, 256, 1000])
@pytest.mark.parametrize("relations", [1, 3, 7])
def test_one_hop_is_exact_and_its_mlp_knows_no_fact(n, relations):
    digits = math.ceil(math.log2(n))
    made = []
    for seed in (1, 2):
        facts = BUILD.random_facts(n, relations, generator=torch.Generator().manual_seed(seed))
        made.append(BUILD.build_factual_recall(facts))
        assert made[-1].certificate.holds, made[-1].certificate.table()
        assert BUILD.recall_accuracy(made[-1].network, facts) == 1
        assert claims(made[-1])["a wrong answer's logit above the right one's"] == -2
        assert made[-1].numbers["neurons of an MLP layer"] == relations * digits
        assert made[-1].numbers["stream width"] == relations * digits + 2 * relations + 2 + digits
    ours, theirs = (built.network.state_dict() for built in made)
    assert {name for name in ours if not torch.equal(ours[name], theirs[name])} == {"embedding.table"}
    assert relations * digits - relations < made[0].numbers["bits that a subject needs"] <= relations * digits


@given(n=st.integers(2, 9), relations=st.integers(1, 3), hops=st.integers(1, 3), seed=st.integers(0, 99))
def test_every_method_follows_every_path(n, relations, hops, seed):
    facts = BUILD.random_facts(n, relations, generator=torch.Generator().manual_seed(seed))
    for method in ("composed", "deep", "chain"):
        network = BUILD.build_factual_recall(facts, hops=hops, method=method).network
        for path in itertools.product(range(relations), repeat=hops):
            asked = torch.tensor([[n + r for r in path] + [s] for s in range(n)])
            wanted = [compose(facts, s, path) for s in range(n)]
            if method == "chain":
                assert BUILD.recall_by_chain(network, asked, hops)[:, -1].tolist() == wanted
            else:
                assert network(asked).argmax(1).tolist() == wanted


def test_three_hops_among_fifty_entities_and_what_they_cost():
    facts = BUILD.random_facts(50, 3)
    built = {m: BUILD.build_factual_recall(facts, hops=3, method=m) for m in ("composed", "deep", "chain")}
    assert all(b.certificate.holds for b in built.values())
    size = {m: b.numbers["neurons of an MLP layer"] for m, b in built.items()}
    assert size == {"composed": 27 * 6, "deep": 2 * 18 + 50, "chain": 18}
    assert [b.numbers["layers"] for b in built.values()] == [1, 3, 1]
    paths = BUILD.compose_facts(facts, 3)
    for j, path in enumerate(itertools.product(range(3), repeat=3)):
        assert paths[:, j].tolist() == [compose(facts, s, path) for s in range(50)]


@pytest.mark.parametrize(
    "relations", [2, pytest.param(4, marks=pytest.mark.slow), pytest.param(8, marks=pytest.mark.slow)]
)
def test_random_superpositions_are_enough_at_a_multiple_of_r_log_n_and_not_below(relations):
    n, facts = 1024, BUILD.random_facts(1024, relations)
    unit = relations * math.log(n)
    accuracy = []
    for factor in (1.2, 4.6):
        built = BUILD.build_factual_recall(facts, dim=round(factor * unit))
        accuracy.append(1 - claims(built)["facts that it gets wrong"] / facts.numel())
    assert accuracy[1] >= 0.98
    assert 0.3 <= accuracy[0] <= 0.6
    lost = BUILD.build_factual_recall(facts[:, :1].repeat(1, relations), dim=4)
    assert not lost.certificate.holds and "facts are lost" in lost.warnings[-1]


def test_disjoint_sets_take_no_mlp():
    facts = BUILD.random_facts(20, 3)
    built = BUILD.build_factual_recall(facts, disjoint=True)
    assert built.certificate.holds and built.numbers["neurons of an MLP layer"] == 0
    asked = torch.tensor([[20 + r, s] for s in range(20) for r in range(3)])
    wanted = [20 * r + int(facts[s, r]) for s in range(20) for r in range(3)]
    assert built.network(asked).argmax(1).tolist() == wanted


@pytest.mark.parametrize("options", [{}, {"hops": 2, "method": "chain"}, {"disjoint": True}, {"dim": 120}])
def test_an_edit_changes_its_fact_and_no_other(options):
    facts = BUILD.random_facts(20, 3)
    built = BUILD.build_factual_recall(facts, **options)
    edited = BUILD.edit_fact(built, 4, 1, int(facts[7, 1]))
    assert edited.certificate.holds, edited.certificate.table()  # every question about the new table is right
    table = np.array(edited.specification.given)
    assert (table != facts.numpy()).sum() == 1 and table[4, 1] == facts[7, 1]
    changed = edited.network.state_dict()
    same = [name for name, t in built.network.state_dict().items() if torch.equal(t, changed[name])]
    assert set(changed) - set(same) == {"embedding.table"}
    rows = (built.network.embedding.table != edited.network.embedding.table).any(1)
    assert rows.nonzero().flatten().tolist() == [4]
    assert built.certificate.holds and built.verify().holds  # the old one is as it was


def test_a_relation_need_not_be_a_bijection():
    facts = torch.tensor([[1], [1], [1]])
    built = BUILD.build_factual_recall(facts)
    assert built.certificate.holds and "lower bound is for bijections" in built.warnings[0]


def test_the_lower_bound():
    assert BUILD.recall_lower_bound(1024, 8) == 80
    assert BUILD.recall_lower_bound(100, 2, hops=2) == pytest.approx(math.log2(100 * 99 * 98 * 97))
    assert math.isnan(BUILD.recall_lower_bound(6, 2, hops=2))  # 2 + 4 entities below the subject: some must meet
    for leaves in itertools.permutations(range(7), 4):  # of 7 entities every tuple of 4 answers occurs
        near = [k for k in range(1, 7) if k not in leaves][:2]
        first = completed({0: near[0], near[0]: leaves[0], near[1]: leaves[2]})
        second = completed({0: near[1], near[0]: leaves[1], near[1]: leaves[3]})
        assert BUILD.compose_facts(torch.tensor([first, second]).T, 2)[0].tolist() == list(leaves)


def completed(known):
    """A bijection of 7 entities."""
    rest = iter(sorted(set(range(7)) - set(known.values())))
    return [known[k] if k in known else next(rest) for k in range(7)]


def test_changed_weights_are_refused_or_harmless(tmp_path):
    """One stored number at a time, with the digest computed anew: brute force agrees with `vestige verify`."""
    facts = BUILD.random_facts(6, 2)
    built = BUILD.build_factual_recall(facts)
    draw, refused = torch.Generator().manual_seed(0), 0
    asked = torch.tensor([[6 + r, s] for s in range(6) for r in range(2)])
    for _ in range(30):
        state = {name: t.clone() for name, t in built.network.state_dict().items()}
        names = sorted(state)
        flat = state[names[int(torch.randint(len(names), (1,), generator=draw))]].view(-1)
        flat[int(torch.randint(len(flat), (1,), generator=draw))] += torch.randn((), generator=draw) * 3
        network = vg.construct.load(saved(built, tmp_path)).network
        network.load_state_dict(state)
        forged = replace(built, network=network)
        right = bool((network(asked).argmax(1) == facts.flatten()).all())
        holds = vg.verify(saved(forged, tmp_path)).holds
        refused += not holds
        assert right or not holds
    assert refused > 5


def test_a_file_that_leaves_questions_out_is_refused(tmp_path):
    built = BUILD.build_factual_recall(BUILD.random_facts(6, 2))
    fewer = replace(built.specification, points=(built.specification.points[0][:-1],))
    assert not replace(built, specification=fewer).verify().holds
    named = {c.name: c.holds for c in vg.verify(saved(replace(built, specification=fewer), tmp_path)).claims}
    assert not named["questions that are not asked"] and named["facts that it gets wrong"]


def test_ties_are_not_recalled(tmp_path):
    """Two equal rows of the readout: the right logit is not above the other."""
    built = BUILD.build_factual_recall(BUILD.random_facts(6, 2))
    network = BUILD.load(saved(built, tmp_path)).network
    network.readout.weight[1] = network.readout.weight[0]
    tied = replace(built, network=network)
    named = {c.name: c.measured for c in vg.verify(saved(tied, tmp_path)).claims}
    assert named["facts that it gets wrong"] == 4 == tied.verify().claims[0].measured


def saved(built, folder):
    BUILD.save(built, folder / "net.safetensors")
    return folder / "net.safetensors"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: BUILD.random_facts(1, 1), "at least 2 entities"),
        (lambda: BUILD.build_factual_recall(torch.tensor([[0, -1], [1, 0]])), "1 facts outside of 0..1"),
        (lambda: BUILD.build_factual_recall(BUILD.random_facts(4, 2), hops=0), "hops=0"),
        (lambda: BUILD.build_factual_recall(BUILD.random_facts(4, 4), hops=12), "asked one by one"),
        (lambda: BUILD.build_factual_recall(BUILD.random_facts(4, 2), dim=0), "dim=0"),
        (lambda: BUILD.build_factual_recall(BUILD.random_facts(4, 2), hops=2, method="deep", dim=9), "binary digits"),
        (lambda: BUILD.build_factual_recall(BUILD.random_facts(4, 2), hops=2, disjoint=True), "one set"),
        (lambda: BUILD.recall_lower_bound(1, 1), "the least"),
        (lambda: BUILD.edit_fact(BUILD.build_counter(4, 5), 0, 0, 0), "kind 'transformer'"),
        (lambda: BUILD.edit_fact(BUILD.build_factual_recall(BUILD.random_facts(4, 2)), 4, 0, 0), "subject=4"),
        (
            lambda: BUILD.edit_fact(BUILD.build_factual_recall(BUILD.random_facts(4, 2), hops=2), 0, 0, 0),
            "method='chain'",
        ),
        (
            lambda: BUILD.build_factual_recall(BUILD.random_facts(4, 2)).network(torch.tensor([[6, 0]])),
            "ids from 0 to 5 are known",
        ),
    ],
)
def test_what_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()
