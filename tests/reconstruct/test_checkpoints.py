"""An attack killed at its saves ends where an undisturbed one does; a state of another problem is not used."""

import pytest
import torch
from interruption import Killed, Memory, until_it_ends
from torch import nn

from vestige.core import descent
from vestige.core.rng import child
from vestige.nets.architecture import parse_architecture
from vestige.nets.fully_connected import mlp
from vestige.nets.groups import Permutations, Rotations
from vestige.reconstruct.embeddings.from_embeddings import reconstruct_from_embeddings
from vestige.reconstruct.fingerprint import fingerprint
from vestige.reconstruct.invariant.from_invariant import reconstruct_invariant
from vestige.reconstruct.kernels.black_box import BudgetSpentError
from vestige.reconstruct.kernels.from_queries import reconstruct_from_queries
from vestige.reconstruct.kernels.functions import Gaussian, Laplace, Polynomial
from vestige.reconstruct.stored import from_tensors, to_tensors
from vestige.reconstruct.weights import solve_chain
from vestige.reconstruct.weights.from_weights import reconstruct_from_weights
from vestige.reconstruct.weights.paired.solver import Paired


@pytest.fixture(autouse=True)
def every_save(monkeypatch):
    monkeypatch.setattr(descent, "SECONDS", 0.0)


def same(a, b):
    """Bit for bit, but for the multipliers of verified samples: LAPACK's least squares depend on where memory lies."""
    tensors = {name: value for name, value in vars(a).items() if isinstance(value, torch.Tensor)}
    solved = tensors.pop("cotangents", torch.zeros(0))
    close = torch.allclose(solved, vars(b).get("cotangents", solved), rtol=1e-12, atol=1e-12)
    return close and all(torch.equal(value, vars(b)[name]) for name, value in tensors.items())


HEAD = mlp([24, 30, 4], generator=child(0, "head"), dtype=torch.float64)


def embeddings(checkpoint=None, *, head=HEAD, seed=4, **changed):
    options = {"repeats": 2, "n_candidates": 6, "restarts": 1, "steps": 75, "weight_decay": 1e-3} | changed
    return reconstruct_from_embeddings(head, **options, generator=child(seed), checkpoint=checkpoint)


INVARIANT = {
    "views": ("c4@1x8x8:mlp:64-20-3", (1, 8, 8), Rotations(), {}),
    "input space": ("c4@1x8x8:mlp:64-20-3", (1, 8, 8), Rotations(), {"conventional": True}),
    "elements": ("set:3@3x5:mlp:5-20-3", (3, 5), Permutations(3), {}),
}


def invariant(kind, checkpoint=None, *, seed=4, **changed):
    text, shape, group, options = INVARIANT[kind]
    net = parse_architecture(text, generator=child(0, kind), dtype=torch.float32)
    options = {"n_candidates": 4, "restarts": 2, "steps": 125, "weight_decay": 1e-3} | options | changed
    return reconstruct_invariant(net, shape, group, **options, generator=child(seed), checkpoint=checkpoint)


ATTACKS = {"embeddings": embeddings} | {
    kind: lambda checkpoint=None, kind=kind, **changed: invariant(kind, checkpoint, **changed) for kind in INVARIANT
}
every_attack = pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)


def network(kind):
    if kind == "convolutional":
        net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3)).float()
        with torch.no_grad():
            for k, parameter in enumerate(net.parameters()):
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=child(k, "conv")))
        return net, (1, 6, 6)
    widths = [36, 30, 10, 3] if kind == "deep" else [36, 30, 3]
    return mlp(widths, generator=child(0, kind), dtype=torch.float32), (36,)


def weights(kind, checkpoint=None):
    options = {"n_candidates": 6, "steps": 75, "solver": "published" if kind == "published" else "default"}
    return reconstruct_from_weights(
        *network(kind), weight_decay=1e-3, **options, generator=child(4), checkpoint=checkpoint
    )


WEIGHTS = {
    kind: lambda checkpoint=None, kind=kind: weights(kind, checkpoint)
    for kind in ("two layers", "deep", "convolutional", "published")
}


@pytest.mark.parametrize("attack", [*ATTACKS.values(), *WEIGHTS.values()], ids=[*ATTACKS, *WEIGHTS])
def test_killed_again_and_again_it_ends_where_it_would_have(attack):
    whole = Memory()
    undisturbed = attack(whole)
    found, kills = until_it_ends(attack, 2)
    assert whole.saves >= 2 and kills >= 1 and same(found, undisturbed)
    assert same(attack(), undisturbed)


@every_attack
def test_what_was_done_is_not_done_again(attack):
    seen, memory = [], Memory(lives=2)
    with pytest.raises(Killed):
        attack(memory)
    memory.lives = 10**9
    attack(memory, on_step=seen.append)
    every = []
    attack(on_step=every.append)
    assert 0 < len(seen) < len(every)


@every_attack
@pytest.mark.parametrize("changed", [{"steps": 130}, {"seed": 5}])
def test_a_state_of_other_options_is_not_used(attack, changed):
    memory = Memory(lives=2)
    with pytest.raises(Killed):
        attack(memory, **changed)
    memory.lives = 10**9
    assert same(attack(memory), attack())


def test_a_state_of_another_model_is_not_used():
    other, memory = mlp([24, 30, 4], generator=child(1, "head"), dtype=torch.float64), Memory(lives=2)
    with pytest.raises(Killed):
        embeddings(memory, head=other)
    memory.lives = 10**9
    assert same(embeddings(memory), embeddings())


class Finished(Memory):
    """Dies at the save that holds the first finished attack."""

    def save(self, tensors):
        super().save(tensors)
        if any("finished 0" in name for name in tensors):
            raise Killed


def test_finished_attacks_come_back_whole():
    undisturbed, memory, seen = embeddings(), Finished(), []
    with pytest.raises(Killed):
        embeddings(memory)
    rest = Memory()
    rest.state = memory.state
    found = embeddings(rest, on_step=seen.append)
    assert seen[0].index == 1 and not any("attack 0" in name for name in rest.state)
    assert same(found, undisturbed) and found.history == undisturbed.history and found.source == undisturbed.source
    alone = []
    embeddings(repeats=1, on_step=alone.append)
    every = []
    embeddings(on_step=every.append)
    assert len(seen) == len(every) - len(alone)


def test_a_result_comes_back_whole():
    found = embeddings()
    again = from_tensors(to_tensors(found), found.samples)
    assert same(found, again)
    assert all(vars(again)[name] == value for name, value in vars(found).items() if not isinstance(value, torch.Tensor))


def test_fingerprints_tell_problems_apart():
    twin = mlp([24, 30, 4], generator=child(0, "head"), dtype=torch.float64)
    assert fingerprint(HEAD) == fingerprint(twin)
    assert fingerprint(HEAD) != fingerprint(nn.Sequential(*HEAD[:-1]) if isinstance(HEAD, nn.Sequential) else None)
    with torch.no_grad():
        next(twin.parameters()).view(-1)[-1] += 1e-16 + 1e-12
    assert fingerprint(HEAD) != fingerprint(twin)
    assert fingerprint(Gaussian(0.1)) != fingerprint(Gaussian(0.2))
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1}) != fingerprint({"a": 2, "b": 1})
    assert fingerprint(["ab", "c"]) != fingerprint(["a", "bc"])


# a model that answers


X, WEIGHT = (torch.randn(*shape, generator=child(0, str(shape)), dtype=torch.float64) for shape in ((6, 12), (6, 3)))


class Model:
    """A kernel machine that counts and can fail."""

    def __init__(self, kernel, weight=WEIGHT, fail_after=10**9):
        self.kernel, self.weight, self.asked, self.fail_after = kernel, weight, [], fail_after

    def __call__(self, z):
        z = torch.as_tensor(z)
        if len(self.asked) + len(z) > self.fail_after:
            raise ConnectionError("try again tomorrow")
        self.asked += [row.numpy().tobytes() for row in z]
        return self.kernel(z, X) @ self.weight


QUERIED = {
    "pencil": (Gaussian(0.02), {}),
    "bandwidth": (Gaussian(0.02), {"kernel": "rbf"}),
    "cubic": (Polynomial(0.1), {"n": 6}),
    "fit": (Laplace(0.2), {"n": 6, "steps": 60}),
}


def queries(kind, model, checkpoint=None, *, seed=4, **changed):
    options = {"kernel": QUERIED[kind][0]} | QUERIED[kind][1] | changed
    return reconstruct_from_queries(model, input_shape=(12,), **options, generator=child(seed), checkpoint=checkpoint)


every_kind = pytest.mark.parametrize("kind", QUERIED)


@every_kind
def test_no_query_is_paid_twice_and_the_end_is_the_same(kind):
    kernel = QUERIED[kind][0]
    undisturbed = queries(kind, Model(kernel))
    model, memory, kills = Model(kernel), Memory(lives=5), 0
    while True:
        try:
            found = queries(kind, model, memory)
            break
        except Killed:
            memory.lives, kills = memory.saves + 7, kills + 1
    assert kills >= 2
    assert same(found, undisturbed) and found.queries == undisturbed.queries
    first = model.asked[0]
    assert model.asked.count(first) <= kills + 2  # shows at each start whether it is the same model
    paid = [query for query in model.asked if query != first]
    assert len(paid) <= undisturbed.queries and len(paid) - len(set(paid)) <= undisturbed.queries - len(set(paid))


@every_kind
def test_an_error_of_the_model_costs_no_answer(kind, monkeypatch):
    monkeypatch.setattr(descent, "SECONDS", 1e9)
    kernel = QUERIED[kind][0]
    undisturbed, model, memory = queries(kind, Model(kernel)), Model(kernel, fail_after=200), Memory()
    with pytest.raises(ConnectionError):
        queries(kind, model, memory)
    assert memory.state is not None
    known = len(model.asked)
    model.fail_after = 10**9
    assert same(queries(kind, model, memory), undisturbed)
    assert len(model.asked) - known == undisturbed.queries - known + 1


def test_the_fit_goes_on_and_does_not_start_over():
    model, memory = Model(Laplace(0.2)), Memory()
    undisturbed = queries("fit", model)
    seen = []

    def stop(step):
        if step.note == "fit" and step.index == 60:
            raise Killed

    with pytest.raises(Killed):
        queries("fit", model, memory, on_step=stop)
    found = queries("fit", model, memory, on_step=lambda step: seen.append(step.index) if step.note == "fit" else None)
    assert seen == [60] and same(found, undisturbed)


def test_more_queries_are_allowed_and_those_made_count():
    kernel, memory = Gaussian(0.02), Memory()
    model = Model(kernel)
    spent = queries("pencil", model, memory, max_queries=300)
    assert spent.queries <= 300 and not spent.validated.any()
    before, undisturbed = len(model.asked), queries("pencil", Model(kernel))
    found = queries("pencil", model, memory)
    assert same(found, undisturbed) and len(model.asked) - before == undisturbed.queries - before + 1
    assert issubclass(BudgetSpentError, RuntimeError)


@pytest.mark.parametrize("changed", [{"seed": 5}, {"kernel": Gaussian(0.03)}])
def test_answers_to_other_questions_are_not_used(changed):
    memory, model = Memory(lives=9), Model(Gaussian(0.02))
    with pytest.raises(Killed):
        queries("pencil", model, memory, **changed)
    memory.lives = 10**9
    assert same(queries("pencil", model, memory), queries("pencil", model))


def test_answers_of_another_model_are_not_used():
    memory, other, model = Memory(lives=9), Model(Gaussian(0.02), WEIGHT.flip(0)), Model(Gaussian(0.02))
    with pytest.raises(Killed):
        queries("pencil", other, memory)
    memory.lives = 10**9
    assert same(queries("pencil", model, memory), queries("pencil", model))


def test_forged_answers_would_be_seen_in_the_result():
    """The null of the tests above: answers in the journal do reach the attack."""
    memory, model = Memory(), Model(Gaussian(0.02))
    queries("pencil", model, memory)
    memory.state["answers"][1:] *= 1.1
    assert not same(queries("pencil", model, memory), queries("pencil", model))


def test_weights_of_another_network_do_not_go_on():
    memory, nets = Memory(lives=1), [mlp([24, 30, 4], generator=child(k), dtype=torch.float64) for k in (0, 1)]
    how = {"n_candidates": 6, "restarts": 1, "steps": 75, "weight_decay": 1e-3, "loss": "cross_entropy"}
    with pytest.raises(Killed):
        reconstruct_from_weights(nets[1], (24,), **how, checkpoint=memory)
    memory.lives = 10**9
    assert same(
        reconstruct_from_weights(nets[0], (24,), **how, checkpoint=memory),
        reconstruct_from_weights(nets[0], (24,), **how),
    )


@pytest.mark.parametrize("kind", ["deep", "two layers"])
def test_what_a_search_found_is_kept_while_pairs_are_looked_for(kind, monkeypatch):
    """A kill then loses seconds, and not the minutes of the search."""

    def pairs(chain, z, *, checkpoint, **options):
        checkpoint.save({"done": torch.ones(1)})

    monkeypatch.setattr(solve_chain, "solve_paired", pairs)
    memory = Memory()
    weights(kind, memory)
    parts = {name.split("/")[1] for name in memory.state}
    assert "pairs" in parts and parts & {"joint", "columns"}
    found = memory.state
    weights(kind, memory)
    assert memory.state.keys() == found.keys()


@pytest.mark.parametrize("missing", [None, 0, 1])
def test_all_samples_together_are_looked_for_where_pairs_do_not_find_all(missing, monkeypatch):
    """What they find is told instead, and their state is kept beside what the search found."""
    asked, seen = [], []

    def given(chain, rows):
        seen.append(chain.basis)
        z = torch.eye(chain.basis.shape[1]).to(chain.weights[0])[rows]
        return Paired(z, z.new_ones(len(z), chain.out), z.new_ones(len(z)), ())

    def pairs(chain, z, **options):
        return None if missing is None else given(chain, [1] * (chain.rank - missing))

    def together(chain, *, checkpoint, **options):
        asked.append(True)
        checkpoint.save({"done": torch.ones(1)})
        return given(chain, [0])

    monkeypatch.setattr(solve_chain, "solve_paired", pairs)
    monkeypatch.setattr(solve_chain, "solve_together", together)
    memory = Memory()
    found = weights("two layers", memory)
    assert len(asked) == (missing != 0)
    kept = {name.split("/")[1] for name in memory.state}
    assert ("together" in kept) == (missing != 0) and "columns" in kept
    told = [torch.isclose(found.samples.flatten(1), x, atol=1e-5).all(1).any() for x in seen[0].T[:2]]
    assert told == [missing != 0, missing == 0]
