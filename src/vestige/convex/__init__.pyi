from .line import LineMargin as LineMargin
from .line import max_margin_1d as max_margin_1d
