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
    "attack.gap": ("RobustnessGap", "robustness_gap", "sphere_robustness_gap"),
    "attack.linearity": ("LinearityProfile", "linearity_profile"),
    "attack.losses": ("AttackLoss",),
    "attack.malt": ("Preset", "malt"),
    "attack.margin": ("UniversalPerturbation", "universal_margin_perturbation"),
    "attack.norms": ("Norm",),
    "attack.result": ("AttackResult", "SkipRule", "TargetRanking"),
    "attack.robust_net": ("RobustNetwork", "robust_two_layer"),
    "attack.span": ("DataSpan", "data_span"),
    "attack.square": ("square",),
    "attack.subspace": (
        "OffSubspace",
        "SubspaceAttack",
        "off_subspace_robustness",
        "project_weights",
        "subspace_attack",
    ),
    "attack.suite": ("Stage", "autoattack"),
    "attack.targets": ("Order", "rank_targets"),
    "construct.exact.compose": ("in_parallel", "in_series"),
    "construct.exact.network": ("ExactNetwork",),
    "construct.file.check": ("verify_construction",),
    "construct.file.saved": ("load_construction", "save_construction"),
    "construct.memorize.lower_bound": ("memorization_lower_bound",),
    "construct.memorize.memorize": ("Memorization", "memorize"),
    "construct.narrow.narrow": ("narrow",),
    "construct.prune.edge_popup": ("MaskTraining", "edge_popup"),
    "construct.prune.prune": ("prune_to_target",),
    "construct.prune.pruned": ("Pruned", "PrunedLayer"),
    "construct.prune.saved": ("StoredPruned", "load_pruned", "save_pruned", "verify_pruned"),
    "construct.prune.subset_sum": ("PruneMethod", "SubsetSum", "random_subset_sum"),
    "construct.prune.width": ("RequiredWidth", "required_width"),
    "construct.result": ("Construction", "Interpolation"),
    "construct.robust.balls": ("Balls",),
    "construct.robust.radius": ("WidthBounds", "max_robust_radius", "width_bounds"),
    "construct.robust.robust": ("memorize_robustly",),
    "construct.separation.boolean_cube": ("boolean_cube", "degree_profile", "walsh_hadamard"),
    "construct.separation.learnability": ("LearnabilityVerdict", "WeakLearnability", "weak_learnability_report"),
    "construct.separation.learning_run": ("LearningRun", "learning_run"),
    "construct.separation.targets": (
        "SeparatedTarget",
        "ball_indicator_target",
        "inner_product_target",
        "parity_target",
        "sawtooth_target",
        "single_neuron_target",
        "square_wave_target",
        "staircase_target",
    ),
    "construct.separation.weak_learning": (
        "GradientVariance",
        "KernelAdvantage",
        "arc_cosine_kernel",
        "gradient_variance",
        "gram_bound",
        "kernel_advantage",
        "projection_advantage",
        "sq_dimension_lower_bound",
    ),
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
    "nets.fixed_output": ("fixed_output_mlp",),
    "nets.groups": ("Group", "Permutations", "Rotations", "Shifts", "parse_group"),
    "nets.invariant": ("InvariantNetwork",),
    "nets.loaded": ("LoadedModel",),
    "nets.mlp": ("mlp",),
    "nets.orbits": ("invariance_gap", "orbit_distance", "symmetric_energy"),
    "nets.training": ("Trained", "train_to_margin"),
    "nets.weights_file": ("CheckpointError",),
    "reconstruct.embeddings": ("reconstruct_from_embeddings",),
    "reconstruct.invariant": ("reconstruct_invariant",),
    "reconstruct.kernel_functions": (
        "Exponential",
        "Gaussian",
        "Laplace",
        "Polynomial",
        "RandomFeatures",
        "ReLUTangent",
        "parse_kernel",
    ),
    "reconstruct.kernel_model": ("KernelModel", "load_kernel_model", "save_kernel_model"),
    "reconstruct.kernels": ("reconstruct_from_queries",),
    "reconstruct.queries": ("Scores",),
    "reconstruct.query_result": ("QueryReconstruction",),
    "reconstruct.query_scoring": ("QueryScore", "score_points"),
    "reconstruct.inversion": ("Inversion", "invert_embedding"),
    "reconstruct.retrieval": ("Retrieval", "best_rank", "nearest_in_gallery", "retrieval_rank"),
    "reconstruct.nulls": ("NullScore",),
    "reconstruct.result": ("Reconstruction",),
    "reconstruct.scoring": ("ReconstructionScore", "score_reconstruction"),
    "reconstruct.splitting": ("SplitPoint", "split_kkt_point"),
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
    from vestige.attack.gap import RobustnessGap as RobustnessGap
    from vestige.attack.gap import robustness_gap as robustness_gap
    from vestige.attack.gap import sphere_robustness_gap as sphere_robustness_gap
    from vestige.attack.linearity import LinearityProfile as LinearityProfile
    from vestige.attack.linearity import linearity_profile as linearity_profile
    from vestige.attack.losses import AttackLoss as AttackLoss
    from vestige.attack.malt import Preset as Preset
    from vestige.attack.malt import malt as malt
    from vestige.attack.margin import UniversalPerturbation as UniversalPerturbation
    from vestige.attack.margin import universal_margin_perturbation as universal_margin_perturbation
    from vestige.attack.norms import Norm as Norm
    from vestige.attack.result import AttackResult as AttackResult
    from vestige.attack.result import SkipRule as SkipRule
    from vestige.attack.result import TargetRanking as TargetRanking
    from vestige.attack.robust_net import RobustNetwork as RobustNetwork
    from vestige.attack.robust_net import robust_two_layer as robust_two_layer
    from vestige.attack.span import DataSpan as DataSpan
    from vestige.attack.span import data_span as data_span
    from vestige.attack.square import square as square
    from vestige.attack.subspace import OffSubspace as OffSubspace
    from vestige.attack.subspace import SubspaceAttack as SubspaceAttack
    from vestige.attack.subspace import off_subspace_robustness as off_subspace_robustness
    from vestige.attack.subspace import project_weights as project_weights
    from vestige.attack.subspace import subspace_attack as subspace_attack
    from vestige.attack.suite import Stage as Stage
    from vestige.attack.suite import autoattack as autoattack
    from vestige.attack.targets import Order as Order
    from vestige.attack.targets import rank_targets as rank_targets
    from vestige.construct.exact.compose import in_parallel as in_parallel
    from vestige.construct.exact.compose import in_series as in_series
    from vestige.construct.exact.network import ExactNetwork as ExactNetwork
    from vestige.construct.file.check import verify_construction as verify_construction
    from vestige.construct.file.saved import load_construction as load_construction
    from vestige.construct.file.saved import save_construction as save_construction
    from vestige.construct.memorize.lower_bound import memorization_lower_bound as memorization_lower_bound
    from vestige.construct.memorize.memorize import Memorization as Memorization
    from vestige.construct.memorize.memorize import memorize as memorize
    from vestige.construct.narrow.narrow import narrow as narrow
    from vestige.construct.prune.edge_popup import MaskTraining as MaskTraining
    from vestige.construct.prune.edge_popup import edge_popup as edge_popup
    from vestige.construct.prune.prune import prune_to_target as prune_to_target
    from vestige.construct.prune.pruned import Pruned as Pruned
    from vestige.construct.prune.pruned import PrunedLayer as PrunedLayer
    from vestige.construct.prune.saved import StoredPruned as StoredPruned
    from vestige.construct.prune.saved import load_pruned as load_pruned
    from vestige.construct.prune.saved import save_pruned as save_pruned
    from vestige.construct.prune.saved import verify_pruned as verify_pruned
    from vestige.construct.prune.subset_sum import PruneMethod as PruneMethod
    from vestige.construct.prune.subset_sum import SubsetSum as SubsetSum
    from vestige.construct.prune.subset_sum import random_subset_sum as random_subset_sum
    from vestige.construct.prune.width import RequiredWidth as RequiredWidth
    from vestige.construct.prune.width import required_width as required_width
    from vestige.construct.result import Construction as Construction
    from vestige.construct.result import Interpolation as Interpolation
    from vestige.construct.robust.balls import Balls as Balls
    from vestige.construct.robust.radius import WidthBounds as WidthBounds
    from vestige.construct.robust.radius import max_robust_radius as max_robust_radius
    from vestige.construct.robust.radius import width_bounds as width_bounds
    from vestige.construct.robust.robust import memorize_robustly as memorize_robustly
    from vestige.construct.separation.boolean_cube import boolean_cube as boolean_cube
    from vestige.construct.separation.boolean_cube import degree_profile as degree_profile
    from vestige.construct.separation.boolean_cube import walsh_hadamard as walsh_hadamard
    from vestige.construct.separation.learnability import LearnabilityVerdict as LearnabilityVerdict
    from vestige.construct.separation.learnability import WeakLearnability as WeakLearnability
    from vestige.construct.separation.learnability import weak_learnability_report as weak_learnability_report
    from vestige.construct.separation.learning_run import LearningRun as LearningRun
    from vestige.construct.separation.learning_run import learning_run as learning_run
    from vestige.construct.separation.targets import SeparatedTarget as SeparatedTarget
    from vestige.construct.separation.targets import ball_indicator_target as ball_indicator_target
    from vestige.construct.separation.targets import inner_product_target as inner_product_target
    from vestige.construct.separation.targets import parity_target as parity_target
    from vestige.construct.separation.targets import sawtooth_target as sawtooth_target
    from vestige.construct.separation.targets import single_neuron_target as single_neuron_target
    from vestige.construct.separation.targets import square_wave_target as square_wave_target
    from vestige.construct.separation.targets import staircase_target as staircase_target
    from vestige.construct.separation.weak_learning import GradientVariance as GradientVariance
    from vestige.construct.separation.weak_learning import KernelAdvantage as KernelAdvantage
    from vestige.construct.separation.weak_learning import arc_cosine_kernel as arc_cosine_kernel
    from vestige.construct.separation.weak_learning import gradient_variance as gradient_variance
    from vestige.construct.separation.weak_learning import gram_bound as gram_bound
    from vestige.construct.separation.weak_learning import kernel_advantage as kernel_advantage
    from vestige.construct.separation.weak_learning import projection_advantage as projection_advantage
    from vestige.construct.separation.weak_learning import sq_dimension_lower_bound as sq_dimension_lower_bound
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
    from vestige.nets.fixed_output import fixed_output_mlp as fixed_output_mlp
    from vestige.nets.groups import Group as Group
    from vestige.nets.groups import Permutations as Permutations
    from vestige.nets.groups import Rotations as Rotations
    from vestige.nets.groups import Shifts as Shifts
    from vestige.nets.groups import parse_group as parse_group
    from vestige.nets.invariant import InvariantNetwork as InvariantNetwork
    from vestige.nets.loaded import LoadedModel as LoadedModel
    from vestige.nets.mlp import mlp as mlp
    from vestige.nets.orbits import invariance_gap as invariance_gap
    from vestige.nets.orbits import orbit_distance as orbit_distance
    from vestige.nets.orbits import symmetric_energy as symmetric_energy
    from vestige.nets.training import Trained as Trained
    from vestige.nets.training import train_to_margin as train_to_margin
    from vestige.nets.weights_file import CheckpointError as CheckpointError
    from vestige.reconstruct.embeddings import reconstruct_from_embeddings as reconstruct_from_embeddings
    from vestige.reconstruct.invariant import reconstruct_invariant as reconstruct_invariant
    from vestige.reconstruct.inversion import Inversion as Inversion
    from vestige.reconstruct.inversion import invert_embedding as invert_embedding
    from vestige.reconstruct.kernel_functions import Exponential as Exponential
    from vestige.reconstruct.kernel_functions import Gaussian as Gaussian
    from vestige.reconstruct.kernel_functions import Laplace as Laplace
    from vestige.reconstruct.kernel_functions import Polynomial as Polynomial
    from vestige.reconstruct.kernel_functions import RandomFeatures as RandomFeatures
    from vestige.reconstruct.kernel_functions import ReLUTangent as ReLUTangent
    from vestige.reconstruct.kernel_functions import parse_kernel as parse_kernel
    from vestige.reconstruct.kernel_model import KernelModel as KernelModel
    from vestige.reconstruct.kernel_model import load_kernel_model as load_kernel_model
    from vestige.reconstruct.kernel_model import save_kernel_model as save_kernel_model
    from vestige.reconstruct.kernels import reconstruct_from_queries as reconstruct_from_queries
    from vestige.reconstruct.nulls import NullScore as NullScore
    from vestige.reconstruct.queries import Scores as Scores
    from vestige.reconstruct.query_result import QueryReconstruction as QueryReconstruction
    from vestige.reconstruct.query_scoring import QueryScore as QueryScore
    from vestige.reconstruct.query_scoring import score_points as score_points
    from vestige.reconstruct.result import Reconstruction as Reconstruction
    from vestige.reconstruct.retrieval import Retrieval as Retrieval
    from vestige.reconstruct.retrieval import best_rank as best_rank
    from vestige.reconstruct.retrieval import nearest_in_gallery as nearest_in_gallery
    from vestige.reconstruct.retrieval import retrieval_rank as retrieval_rank
    from vestige.reconstruct.scoring import ReconstructionScore as ReconstructionScore
    from vestige.reconstruct.scoring import score_reconstruction as score_reconstruction
    from vestige.reconstruct.splitting import SplitPoint as SplitPoint
    from vestige.reconstruct.splitting import split_kkt_point as split_kkt_point
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
