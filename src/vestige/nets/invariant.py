"""Networks that a group leaves alone by construction: the average of a base network over views of its input.

    F(x) = mean over t of f(view_t(x)),        g permutes the views of x, hence F(g x) = F(x)                    (1)

The views of an image are its rotations or shifts (Reynolds average, arXiv 2411.16458), or a window of k x k pixels at
every shift: with f a two-layer network that is a circular convolution of kernel k, ReLU, global average pooling and a
linear layer. The views of a set are its elements: with f a two-layer network that is DeepSets (arXiv 1703.06114).
"""

from jaxtyping import Float
from torch import Tensor, nn

from vestige.nets.groups import Group, Shifts


class InvariantNetwork(nn.Module):
    """F of (1).

    Args:
        base: f, for one view.
        group: what F is invariant to.
        window: shifts only: f sees the first window x window pixels of each shifted image; None: all of it.

    Raises:
        ValueError: a window without shifts.

    >>> from vestige.nets.groups import Permutations
    >>> import torch
    >>> net = InvariantNetwork(nn.Linear(1, 1, bias=False), Permutations(2))
    >>> x = torch.tensor([[[1.0], [3.0]]])
    >>> torch.equal(net(x), net(x.flip(1)))
    True
    """

    def __init__(self, base: nn.Module, group: Group, window: int | None = None):
        super().__init__()
        if window is not None and not (isinstance(group, Shifts) and window >= 1):
            raise ValueError(
                f"window={window} given with the group {group}; a window of 1 pixel or more is for shifts."
            )
        self.base, self.group, self.window = base, group, window

    def views(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n t ..."]:
        """Everything of x that the base network sees."""
        views = self.group.views(x)
        return views if self.window is None else views[..., : self.window, : self.window]

    def forward(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n out"]:
        views = self.views(x)
        return self.base(views.flatten(0, 1)).unflatten(0, views.shape[:2]).mean(1)
