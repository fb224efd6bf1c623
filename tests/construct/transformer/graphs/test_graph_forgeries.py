"""One stored number of a graph network at a time is changed, and the digest computed anew."""

from dataclasses import replace

import pytest
import torch

import vestige as vg

BUILD = vg.construct
SMALL = {
    "cube": lambda: BUILD.build_matrix_power(4, 3),
    "triangles": lambda: BUILD.build_triangle_counter(5),
    "connectivity": lambda: BUILD.build_connectivity(5),
}


@pytest.mark.parametrize("name", SMALL)
def test_a_change_is_refused_or_harmless_at_what_is_stored(name, tmp_path):
    built = SMALL[name]()
    x = torch.from_numpy(built.specification.points[0])
    right = built.network(x).round()
    draw, refused = torch.Generator().manual_seed(0), 0
    for _ in range(12):
        network = BUILD.load(saved(built, tmp_path)).network
        state = network.state_dict()
        flat = state[sorted(state)[int(torch.randint(len(state), (1,), generator=draw))]].view(-1)
        flat[int(torch.randint(len(flat), (1,), generator=draw))] += 5 * torch.randn((), generator=draw)
        holds = vg.verify(saved(replace(built, network=network), tmp_path)).holds
        assert torch.equal(network(x).round(), right) or not holds
        refused += not holds
    assert refused


def saved(built, folder):
    BUILD.save(built, folder / "net.safetensors")
    return folder / "net.safetensors"


def test_a_file_of_a_matrix_that_is_no_graph_is_refused(tmp_path):
    built = BUILD.build_triangle_counter(4)
    points = built.specification.points[0].copy()
    points[0, 0, 1] = 2
    forged = replace(built, specification=replace(built.specification, points=(points,)))
    with pytest.raises(ValueError, match="0 and 1"):
        vg.verify(saved(forged, tmp_path))
