"""Training data read back from what was trained on it."""

from vestige.reconstruct.result import Reconstruction
from vestige.reconstruct.scoring import NullScore, ReconstructionScore, score_reconstruction
from vestige.reconstruct.weights import reconstruct_from_weights

__all__ = ["NullScore", "Reconstruction", "ReconstructionScore", "reconstruct_from_weights", "score_reconstruction"]
