"""EfficientNet-Lite0, the small ImageNet network whose weights a package ships: 4.7 million parameters, 1280 features.

Inverted residual blocks without squeeze-and-excitation, ReLU6, TensorFlow's "same" padding. The parameter names are
those of the published file, so that it loads with `strict=True`.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

FEATURES = 1280
BLOCKS = (  # kernel, stride, expansion, channels in, channels out, repeats
    (3, 1, 1, 32, 16, 1),
    (3, 2, 6, 16, 24, 2),
    (5, 2, 6, 24, 40, 2),
    (3, 2, 6, 40, 80, 3),
    (5, 1, 6, 80, 112, 3),
    (5, 2, 6, 112, 192, 4),
    (3, 1, 6, 192, 320, 1),
)
MEAN, SCALE = 127 / 255, 128 / 255  # the published preprocessing, for pixels in [0, 1]


class SameConv(nn.Conv2d):
    """A convolution whose output is ceil(size / stride), padded more at the end where the padding is odd."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__(channels, out, kernel, stride, groups=groups, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        stride = self.stride[0]
        pad = [max((-(-s // stride) - 1) * stride + self.kernel_size[0] - s, 0) for s in input.shape[-2:]]
        return super().forward(F.pad(input, [pad[1] // 2, pad[1] - pad[1] // 2, pad[0] // 2, pad[0] - pad[0] // 2]))


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project; added to the input where shapes allow."""

    def __init__(self, kernel: int, stride: int, expansion: int, channels: int, out: int):
        super().__init__()
        wide = channels * expansion
        if expansion > 1:
            self._expand_conv, self._bn0 = SameConv(channels, wide, 1), _norm(wide)
        self._depthwise_conv, self._bn1 = SameConv(wide, wide, kernel, stride, groups=wide), _norm(wide)
        self._project_conv, self._bn2 = SameConv(wide, out, 1), _norm(out)
        self.expands, self.skips = expansion > 1, stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        h = self._bn2(self._project_conv(F.relu6(self._bn1(self._depthwise_conv(h)))))
        return x + h if self.skips else h


class EfficientNetLite0(nn.Module):
    """Pixels in [0, 1] to the 1280 features before the last layer.

    Args:
        resolution: images are first resized to this many pixels a side; 224 is what it was trained at.
    """

    def __init__(self, resolution: int = 224):
        super().__init__()
        self.resolution = resolution
        self._conv_stem, self._bn0 = SameConv(3, 32, 3, 2), _norm(32)
        blocks = []
        for kernel, stride, expansion, channels, out, repeats in BLOCKS:
            blocks.append(InvertedResidual(kernel, stride, expansion, channels, out))
            blocks += [InvertedResidual(kernel, 1, expansion, out, out) for _ in range(repeats - 1)]
        self._blocks = nn.ModuleList(blocks)
        self._conv_head, self._bn1 = SameConv(320, FEATURES, 1), _norm(FEATURES)
        self._fc = nn.Linear(FEATURES, 1000)

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 1280"]:
        if x.shape[-2:] != (self.resolution, self.resolution):
            size = (self.resolution, self.resolution)
            x = F.interpolate(x, size=size, mode="bicubic", antialias=True, align_corners=False)
        h = F.relu6(self._bn0(self._conv_stem((x - MEAN) / SCALE)))
        for block in self._blocks:
            h = block(h)
        return F.relu6(self._bn1(self._conv_head(h))).mean((2, 3))

    def classify(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 1000"]:
        """ImageNet logits."""
        return self._fc(self(x))


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


def efficientnet_lite0(path: str, *, resolution: int = 224) -> EfficientNetLite0:
    """The network with the weights of a published file, frozen and in evaluation mode.

    Args:
        path: a .pth file of tensors; read with `weights_only=True`.
        resolution: pixels a side at which it looks at images.
    """
    model = EfficientNetLite0(resolution).float()
    model.load_state_dict(torch.load(path, weights_only=True, map_location="cpu"), strict=True)
    return model.eval().requires_grad_(False)
