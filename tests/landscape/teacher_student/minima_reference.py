"""Minima that another program computed with 40 digits, and points of known kind around them."""

import functools

import torch

from vestige.landscape import Neurons, descend

# k: a = W[0, 0], the rest of row 0 and of column 0, the diagonal and everything else; columns are neurons.
# Then the loss and the smallest eigenvalue of the Hessian.
PUBLISHED = {
    6: (
        (-0.6015119235610937, 0.3080109914790687, 0.2245158075994779, 0.9867038188885769, -0.0504134032168087),
        0.0250805810024630104,
        0.0047003547,
    ),
    7: (
        (-0.6327039049152542, 0.2616910758065544, 0.18599104629625106, 0.9969227988032856, -0.0350801559270466),
        0.02320271491356607583,
        0.0140590132,
    ),
}


def orthonormal(k):
    return Neurons(torch.eye(k, dtype=torch.float64))


def structured(k):
    """The printed minimum, one neuron a row; neuron 0 is the bad one."""
    (a, row, column, diagonal, rest), _, _ = PUBLISHED[k]
    weight = torch.full((k, k), rest, dtype=torch.float64)
    weight.fill_diagonal_(diagonal)
    weight[0, :], weight[:, 0], weight[0, 0] = row, column, a
    return weight.T.contiguous()


@functools.cache
def minimum(k):
    """The same to the last digit, from four of them."""
    found = descend(Neurons(structured(k)[None].mul(1e4).round().div(1e4)), orthonormal(k))
    assert bool(found.stationary.all())
    return Neurons(found.student.weight[0])


def valley(k, share=0.3):
    """A global minimum of k + 1 students: neuron 0 is split, and the halves can be moved along the neuron for free."""
    eye = torch.eye(k, dtype=torch.float64)
    return Neurons(torch.cat([share * eye[:1], (1 - share) * eye[:1], eye[1:]]))
