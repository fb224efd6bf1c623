"""Samples at the ends of their range, from the span of a first layer and the range alone."""

from functools import cache

import pytest
import torch
import torch.nn.functional as F
from interruption import Killed, Memory
from scipy.optimize import linprog
from torch import Tensor, nn

import vestige as vg
from vestige.core.rng import child
from vestige.reconstruct.weights import solve_chain
from vestige.reconstruct.weights.chain import Chain, forgot_start, span_chain
from vestige.reconstruct.weights.corners import HELD, Polytope, accounted, polytope, solve_by_corners

D, N, HIDDEN = 160, 12, 60
RAW = torch.zeros(D, dtype=torch.float64), torch.ones(D, dtype=torch.float64)
MEAN = 0.2
BOX = RAW[0] - MEAN, RAW[1] - MEAN


def strokes(seed: int) -> Tensor:
    """Inputs in [0, 1], seven tenths of their entries 0 and a twentieth 1."""
    draw = torch.rand(N, D, generator=child(seed, "strokes"), dtype=torch.float64)
    ink = torch.rand(N, D, generator=child(seed, "ink"), dtype=torch.float64) > 0.7
    return (0.05 + 1.2 * draw).clamp(max=1) * ink


def chain_on(x: Tensor, noise: float = 0.0) -> Chain:
    """A network whose first layer is what training leaves: columns times the inputs, a 1 appended."""
    columns = torch.randn(HIDDEN, len(x), generator=child(0, "columns"), dtype=torch.float64).relu()
    start = torch.randn(HIDDEN, D, generator=child(0, "start"), dtype=torch.float64)
    model = nn.Sequential(nn.Linear(D, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2)).double()
    with torch.no_grad():
        model[0].weight.copy_(columns @ x + noise * start)
        model[0].bias.copy_(columns.sum(1))
    chain = span_chain(model, None, torch.float64)
    assert chain is not None
    return chain


def solve(chain: Chain, box: tuple[Tensor, Tensor] = BOX, **options) -> Tensor:
    return solve_by_corners(chain, box, sample_norm=3.0, generator=child(0, "solve"), **options)


def nearest(chain: Chain, z: Tensor, x: Tensor) -> Tensor:
    """Cosine of each sample to its nearest input."""
    return (F.normalize(z @ chain.basis.T, dim=1) @ F.normalize(x, dim=1).T).amax(1)


def any_corners(chain: Chain, count: int, name: str) -> tuple[Polytope, Tensor, Tensor]:
    """The polytope, normal objectives, and the corner that each leads to."""
    given = polytope(chain.basis, BOX)
    assert given is not None
    objective = torch.randn(count, N, generator=child(0, name), dtype=torch.float64)
    return given, objective, given.program(torch.zeros(count, N, dtype=torch.float64), objective, 20_000, 0.1)


@pytest.fixture(scope="module")
def sparse() -> tuple[Chain, Tensor, Tensor]:
    x = strokes(1) - MEAN
    chain = chain_on(x)
    return chain, x, solve(chain)


def test_all_samples_with_a_background_are_found_and_nothing_else(sparse):
    chain, x, z = sparse
    assert len(z) == N
    assert nearest(chain, z, x).min() > 0.9999
    assert nearest(chain, x @ chain.basis, z @ chain.basis.T).min() > 0.9999  # each of them


def test_inputs_inside_their_range_are_not_found():
    inside = 0.05 + 0.9 * torch.rand(N, D, generator=child(2, "inside"), dtype=torch.float64)
    assert len(solve(chain_on(inside - MEAN))) == 0


def test_a_range_that_is_not_theirs_finds_nothing(sparse):
    chain, _, _ = sparse
    assert len(solve(chain, (BOX[0] - 1, BOX[1]))) == 0


def test_nothing_is_looked_for_where_the_layer_remembers_its_start():
    noisy = chain_on(strokes(1) - MEAN, noise=1e-2)
    assert noisy.basis.shape[1] > N or noisy.singular_values[N] > 0.01 * noisy.singular_values[N - 1]
    assert len(solve(noisy)) == 0


@pytest.mark.parametrize("box", [RAW, BOX], ids=["raw", "centered"])
def test_a_compressed_network_that_holds_no_samples_gives_nothing(box):
    """Its first layer has a low rank, as after training with weight decay, but no sample spans it."""
    drawn = torch.randn(N, D, generator=child(8, "drawn"), dtype=torch.float64)
    compressed = chain_on(drawn)
    assert compressed.rank == N and compressed.clear and forgot_start(compressed)
    assert len(solve(compressed, box)) == 0


def test_the_program_agrees_with_a_second_library(sparse):
    chain, _, _ = sparse
    given, objective, ours = any_corners(chain, 4, "second library")
    sides = torch.cat([given.basis, -given.basis]).numpy(), torch.cat([given.high, -given.low]).numpy()
    for mine, c in zip(ours, objective, strict=True):
        best = linprog(-c.numpy(), A_ub=sides[0], b_ub=sides[1], bounds=(None, None))
        assert float(c @ mine) == pytest.approx(-best.fun, rel=1e-3)


def test_a_corner_that_hangs_on_few_faces_is_not_held(sparse):
    """Any direction leads to a corner of the polytope, on as many faces as it has dimensions."""
    chain, x, _ = sparse
    given, _, any_corner = any_corners(chain, 40, "few faces")
    samples = x @ chain.basis @ torch.linalg.inv(given.natural)
    any_corner = any_corner[F.cosine_similarity(any_corner[:, None], samples, dim=2).amax(1) < 0.99]
    assert len(any_corner) >= 3
    assert given.held(samples).min() > HELD > given.held(any_corner).max()


def test_held_is_the_smallest_eigenvalue_without_the_first_entries():
    """Five, eight and eight entries for three directions; one of the five is inside, and three more are dropped."""
    basis = torch.eye(3, dtype=torch.float64).repeat_interleave(torch.tensor([5, 8, 8]), 0)
    basis = F.normalize(basis, dim=0)
    low, high = (torch.full((21,), end, dtype=torch.float64) for end in (0.0, 1.0))
    low[0] = -1
    given = Polytope(basis, low, high, torch.arange(21), torch.eye(3, dtype=torch.float64))
    points = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]], dtype=torch.float64)  # the second: all five are inside
    assert given.held(points).tolist() == pytest.approx([21 / 5, 0], abs=1e-12)


def test_the_length_of_a_sample_is_free_where_zero_is_a_corner_too():
    """A blend of two is held in no direction but its own, also where both are 1 at a tenth of the entries."""
    empty = torch.rand(N, D, generator=child(7, "empty"), dtype=torch.float64) < 0.4
    x = (0.05 + 2 * torch.rand(N, D, generator=child(7, "bright"), dtype=torch.float64)).clamp(max=1) * ~empty
    chain = chain_on(x)
    given = polytope(chain.basis, RAW)
    assert given is not None and given.has_zero
    samples = x @ chain.basis @ torch.linalg.inv(given.natural)
    assert given.held(samples).min() > HELD
    assert given.held(0.5 * samples).min() > HELD
    assert given.held((samples[:-1] + samples[1:]) / 2).max() < 1e-6
    shifted = polytope(chain.basis, BOX)
    assert shifted is not None and not shifted.has_zero


def test_images_between_0_and_1_are_found_but_for_their_length():
    x = strokes(1)
    chain = chain_on(x)
    z = solve(chain, RAW)
    assert len(z) >= N / 3 and nearest(chain, z, x).min() > 0.999


def test_copies_of_entries_count_once():
    """An enlarged image has no more to say than the image."""
    x = strokes(5)
    few = polytope(torch.linalg.svd(x[:, :20], full_matrices=False)[2].T, (BOX[0][:20], BOX[1][:20]))
    copied = x[:, :20].repeat_interleave(8, 1)
    assert few is None
    assert polytope(torch.linalg.svd(copied, full_matrices=False)[2].T, BOX) is None


def test_candidates_are_started_from_and_what_is_known_is_kept(sparse):
    chain, x, _ = sparse
    true = x @ chain.basis
    blurred = true + 0.1 * torch.randn(true.shape, generator=child(6, "blur"), dtype=torch.float64)
    z = solve(chain, known=true[[7, 2, 9]], candidates=blurred)
    assert torch.allclose(z[:3], true[[7, 2, 9]], atol=1e-9)
    assert len(z) == N and nearest(chain, z, x).min() > 0.9999


def test_a_killed_search_goes_on_to_the_same_end(sparse):
    chain, _, z = sparse
    memory, notes = Memory(lives=1), []
    with pytest.raises(Killed):
        solve(chain, checkpoint=memory)
    memory.lives = 10**9
    assert torch.equal(solve(chain, checkpoint=memory, on_step=lambda step: notes.append(step.note)), z)
    assert all(note.endswith(f"of {chain.rank} samples") for note in notes)


def test_all_samples_account_for_the_first_layer_and_a_part_does_not(sparse):
    chain, _, z = sparse
    multipliers, residual = accounted(chain, z)
    assert multipliers.shape == (N, 2) and residual["layer 1"] < 1e-6
    assert accounted(chain, z[:6])[1]["layer 1"] > 0.05


@cache
def cards() -> tuple[Tensor, vg.InputSpace, nn.Module, nn.Module]:
    """Four digits a card, in two classes, and a network before and after training: it has 20 different neurons."""
    data = vg.load_data("digits").x.double()[:, 0]
    four = data[torch.randint(len(data), (400, 4), generator=child(0, "cards"))]
    x = torch.cat([torch.cat([four[:, 0], four[:, 1]], 2), torch.cat([four[:, 2], four[:, 3]], 2)], 1)[:, None].float()
    space = vg.InputSpace(mean=x.mean(0))
    x = space.to_model(x)[:16]
    start = vg.nets.mlp([256, 100, 100, 1], first_init=1e-3, generator=child(0, "init"), dtype=torch.float32)
    trained = vg.train_to_margin(start, x, torch.arange(16) % 2, loss="logistic", weight_decay=1e-3).model
    return x, space, start, trained


def attacked(model: nn.Module, space: vg.InputSpace | None, **options) -> vg.reconstruct.Reconstruction:
    told = {"loss": "logistic", "weight_decay": 1e-3, "space": space, "generator": child(0, "attack")}
    return vg.reconstruct_from_weights(model, (1, 16, 16), **told, **options)


def right(found: vg.reconstruct.Reconstruction, x: Tensor) -> Tensor:
    return (F.normalize(found.samples.flatten(1), dim=1) @ F.normalize(x.flatten(1), dim=1).T).amax(1) > 0.99


def test_a_deep_network_of_two_classes_gives_all_its_cards_away():
    """Its equation cannot tell them: it has hardly more different neurons than samples."""
    x, space, _, trained = cards()
    found = attacked(trained, space)
    assert len(found.samples) == len(x) == int(right(found, x).sum())
    assert found.confidence.min() >= 0.9 and found.doubt == "" and not found.verified.any()
    assert found.directions < 2 * len(x) and found.gradient_evaluations == 0


def test_without_a_range_or_training_no_card_is_likely():
    x, space, start, trained = cards()
    few = {"restarts": 1, "steps": 100, "n_candidates": 20}
    for found in (attacked(trained, None, **few), attacked(start, space, **few)):
        assert found.confidence.max() < 0.5 and not right(found, x).any()


def test_what_the_range_tells_in_part_is_told_beside_what_searches_find(monkeypatch):
    """With one card less than nine of ten the searches run, and what they bring starts corners again."""
    x, space, _, trained = cards()
    calls = []

    def part(chain, box, *, candidates=None, known=None, **options):
        calls.append((candidates, known))
        z = (x.flatten(1) @ chain.basis)[:5]
        return z if known is None else torch.cat([known, z[:1] + 1])

    monkeypatch.setattr(solve_chain, "solve_by_corners", part)
    found = attacked(trained, space, restarts=1, steps=100, n_candidates=20)
    (_, first), (candidates, known) = calls
    assert first is None and len(candidates) >= 20 and len(known) == 5
    assert right(found, x[:5]).sum() == 5 and (found.confidence >= 0.9).sum() == 6
