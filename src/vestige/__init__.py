"""vestige reads, writes and erases what a neural network's weights hold.

The public names stand here: `import vestige as vg; vg.reconstruct_from_weights(...)`. Each is loaded when it is first
used, so that importing the package takes milliseconds and not the seconds that torch takes.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_HOME = {
    "attack.apgd": ("apgd",),
    "attack.evaluate": ("RobustnessReport", "evaluate_robustness"),
    "attack.fab": ("fab",),
    "attack.losses": ("AttackLoss",),
    "attack.malt": ("Preset", "malt"),
    "attack.norms": ("Norm",),
    "attack.result": ("AttackResult", "SkipRule", "TargetRanking"),
    "attack.square": ("square",),
    "attack.suite": ("Stage", "autoattack"),
    "attack.targets": ("Order", "rank_targets"),
    "core.cite": ("Paper", "citation"),
    "core.claims": ("Certificate", "Claim"),
    "core.kkt": ("GramSystem", "gram_system", "stationarity_residual", "weighted_gradient"),
    "core.margins": ("Loss", "margin"),
    "core.matching": ("assign", "cosine", "l2", "ncc", "ssim"),
    "core.outcome": ("Outcome", "Step"),
    "core.space": ("InputSpace", "lp_norm", "project_ball"),
    "core.stationarity": ("Stationarity", "Subgradient", "stationarity"),
    "core.theory": ("LayerFinding", "TheoryCheck", "check_theory"),
    "core.wilson": ("wilson_interval",),
    "data.dataset": ("DataError", "DataSet", "binarize", "centred", "sample"),
    "data.load": ("load_data",),
    "nets.architecture": ("parse_architecture",),
    "nets.chain": ("ArchitectureError", "architecture_of"),
    "nets.backbones": ("embed", "image_encoder", "sentence_encoder"),
    "nets.checkpoint": ("load_model", "save_model"),
    "nets.cnn": ("AvgPool", "Conv", "cnn"),
    "nets.convert": ("convert",),
    "nets.loaded": ("LoadedModel",),
    "nets.mlp": ("mlp",),
    "nets.training": ("Trained", "train_to_margin"),
    "nets.weights_file": ("CheckpointError",),
    "reconstruct.embeddings": ("reconstruct_from_embeddings",),
    "reconstruct.inversion": ("Inversion", "invert_embedding"),
    "reconstruct.retrieval": ("Retrieval", "best_rank", "nearest_in_gallery", "retrieval_rank"),
    "reconstruct.nulls": ("NullScore",),
    "reconstruct.result": ("Reconstruction",),
    "reconstruct.scoring": ("ReconstructionScore", "score_reconstruction"),
    "reconstruct.untrained": ("untrained_like",),
    "reconstruct.weights": ("reconstruct_from_weights",),
    "unlearning.ascent": ("Unlearned", "unlearn"),
    "unlearning.baselines": (
        "Baseline",
        "distil",
        "fine_tune",
        "gradient_difference",
        "random_labels",
        "retrain",
        "saliency_mask",
    ),
    "unlearning.certificate": ("UnlearningCertificate", "unlearning_certificate"),
    "unlearning.curvature": ("minimum_norm", "newton_step"),
    "unlearning.evaluate": ("UnlearningReport", "evaluate_unlearning"),
}

if TYPE_CHECKING:  # the same names for type checkers and editors, which do not run `__getattr__`
    from vestige.attack.apgd import apgd as apgd
    from vestige.attack.evaluate import RobustnessReport as RobustnessReport
    from vestige.attack.evaluate import evaluate_robustness as evaluate_robustness
    from vestige.attack.fab import fab as fab
    from vestige.attack.losses import AttackLoss as AttackLoss
    from vestige.attack.malt import Preset as Preset
    from vestige.attack.malt import malt as malt
    from vestige.attack.norms import Norm as Norm
    from vestige.attack.result import AttackResult as AttackResult
    from vestige.attack.result import SkipRule as SkipRule
    from vestige.attack.result import TargetRanking as TargetRanking
    from vestige.attack.square import square as square
    from vestige.attack.suite import Stage as Stage
    from vestige.attack.suite import autoattack as autoattack
    from vestige.attack.targets import Order as Order
    from vestige.attack.targets import rank_targets as rank_targets
    from vestige.core.cite import Paper as Paper
    from vestige.core.cite import citation as citation
    from vestige.core.claims import Certificate as Certificate
    from vestige.core.claims import Claim as Claim
    from vestige.core.kkt import GramSystem as GramSystem
    from vestige.core.kkt import gram_system as gram_system
    from vestige.core.kkt import stationarity_residual as stationarity_residual
    from vestige.core.kkt import weighted_gradient as weighted_gradient
    from vestige.core.margins import Loss as Loss
    from vestige.core.margins import margin as margin
    from vestige.core.matching import assign as assign
    from vestige.core.matching import cosine as cosine
    from vestige.core.matching import l2 as l2
    from vestige.core.matching import ncc as ncc
    from vestige.core.matching import ssim as ssim
    from vestige.core.outcome import Outcome as Outcome
    from vestige.core.outcome import Step as Step
    from vestige.core.space import InputSpace as InputSpace
    from vestige.core.space import lp_norm as lp_norm
    from vestige.core.space import project_ball as project_ball
    from vestige.core.stationarity import Stationarity as Stationarity
    from vestige.core.stationarity import Subgradient as Subgradient
    from vestige.core.stationarity import stationarity as stationarity
    from vestige.core.theory import LayerFinding as LayerFinding
    from vestige.core.theory import TheoryCheck as TheoryCheck
    from vestige.core.theory import check_theory as check_theory
    from vestige.core.wilson import wilson_interval as wilson_interval
    from vestige.data.dataset import DataError as DataError
    from vestige.data.dataset import DataSet as DataSet
    from vestige.data.dataset import binarize as binarize
    from vestige.data.dataset import centred as centred
    from vestige.data.dataset import sample as sample
    from vestige.data.load import load_data as load_data
    from vestige.nets.architecture import parse_architecture as parse_architecture
    from vestige.nets.backbones import embed as embed
    from vestige.nets.backbones import image_encoder as image_encoder
    from vestige.nets.backbones import sentence_encoder as sentence_encoder
    from vestige.nets.chain import ArchitectureError as ArchitectureError
    from vestige.nets.chain import architecture_of as architecture_of
    from vestige.nets.checkpoint import load_model as load_model
    from vestige.nets.checkpoint import save_model as save_model
    from vestige.nets.cnn import AvgPool as AvgPool
    from vestige.nets.cnn import Conv as Conv
    from vestige.nets.cnn import cnn as cnn
    from vestige.nets.convert import convert as convert
    from vestige.nets.loaded import LoadedModel as LoadedModel
    from vestige.nets.mlp import mlp as mlp
    from vestige.nets.training import Trained as Trained
    from vestige.nets.training import train_to_margin as train_to_margin
    from vestige.nets.weights_file import CheckpointError as CheckpointError
    from vestige.reconstruct.embeddings import reconstruct_from_embeddings as reconstruct_from_embeddings
    from vestige.reconstruct.inversion import Inversion as Inversion
    from vestige.reconstruct.inversion import invert_embedding as invert_embedding
    from vestige.reconstruct.nulls import NullScore as NullScore
    from vestige.reconstruct.result import Reconstruction as Reconstruction
    from vestige.reconstruct.retrieval import Retrieval as Retrieval
    from vestige.reconstruct.retrieval import best_rank as best_rank
    from vestige.reconstruct.retrieval import nearest_in_gallery as nearest_in_gallery
    from vestige.reconstruct.retrieval import retrieval_rank as retrieval_rank
    from vestige.reconstruct.scoring import ReconstructionScore as ReconstructionScore
    from vestige.reconstruct.scoring import score_reconstruction as score_reconstruction
    from vestige.reconstruct.untrained import untrained_like as untrained_like
    from vestige.reconstruct.weights import reconstruct_from_weights as reconstruct_from_weights
    from vestige.unlearning.ascent import Unlearned as Unlearned
    from vestige.unlearning.ascent import unlearn as unlearn
    from vestige.unlearning.baselines import Baseline as Baseline
    from vestige.unlearning.baselines import distil as distil
    from vestige.unlearning.baselines import fine_tune as fine_tune
    from vestige.unlearning.baselines import gradient_difference as gradient_difference
    from vestige.unlearning.baselines import random_labels as random_labels
    from vestige.unlearning.baselines import retrain as retrain
    from vestige.unlearning.baselines import saliency_mask as saliency_mask
    from vestige.unlearning.certificate import UnlearningCertificate as UnlearningCertificate
    from vestige.unlearning.certificate import unlearning_certificate as unlearning_certificate
    from vestige.unlearning.curvature import minimum_norm as minimum_norm
    from vestige.unlearning.curvature import newton_step as newton_step
    from vestige.unlearning.evaluate import UnlearningReport as UnlearningReport
    from vestige.unlearning.evaluate import evaluate_unlearning as evaluate_unlearning

else:
    _MODULE = {name: f"vestige.{module}" for module, names in _HOME.items() for name in names}
    __all__ = ["__version__", *sorted(_MODULE)]

    def __getattr__(name: str) -> object:
        if name not in _MODULE:
            raise AttributeError(f"module 'vestige' has no attribute {name!r}; dir(vestige) lists what it has")
        value = globals()[name] = getattr(import_module(_MODULE[name]), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
