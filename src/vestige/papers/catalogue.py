"""The thirty papers that vestige is built from, and which of them work today.

A surname alone in `authors` means that the given name was not checked against a source.
"""

from vestige.core.cite import Paper
from vestige.papers.record import Record

READ = (
    Record(
        Paper(
            "2206.07758",
            "Reconstructing Training Data from Trained Neural Networks",
            ("Niv Haim", "Gal Vardi", "Gilad Yehudai", "Ohad Shamir", "Michal Irani"),
            2022,
            "Advances in Neural Information Processing Systems",
        ),
        ("reconstruct_from_weights", "score_reconstruction", "stationarity", "train_to_margin", "check_theory"),
        "works: binary classifiers, by the published procedure and by our own solver",
    ),
    Record(
        Paper(
            "2305.03350",
            "Reconstructing Training Data from Multiclass Neural Networks",
            ("Gon Buzaglo", "Niv Haim", "Gilad Yehudai", "Gal Vardi", "Michal Irani"),
            2023,
        ),
        ("reconstruct_from_weights", "score_reconstruction", "stationarity", "train_to_margin", "check_theory"),
        "works: several classes, one competitor or all; the 100-class experiment is not repeated",
    ),
    Record(
        Paper(
            "2307.01827",
            "Deconstructing Data Reconstruction: Multiclass, Weight Decay and General Losses",
            (
                "Gon Buzaglo",
                "Niv Haim",
                "Gilad Yehudai",
                "Gal Vardi",
                "Yakir Oz",
                "Yaniv Nikankin",
                "Michal Irani",
            ),
            2023,
            "Advances in Neural Information Processing Systems",
        ),
        ("reconstruct_from_weights", "score_reconstruction", "stationarity", "train_to_margin", "check_theory"),
        "works: weight decay, squared, Huber, logistic and cross-entropy losses, MLPs and small CNNs",
    ),
    Record(
        Paper(
            "2407.15845",
            "Reconstructing Training Data From Real World Models Trained with Transfer Learning",
            ("Yakir Oz", "Gilad Yehudai", "Gal Vardi", "Itai Antebi", "Michal Irani", "Niv Haim"),
            2024,
        ),
        ("reconstruct_from_embeddings", "invert_embedding"),
        "missing: recovery of training embeddings from a head on a frozen backbone, and their inversion to images",
    ),
    Record(
        Paper(
            "2411.16458",
            "On the Reconstruction of Training Data from Group Invariant Networks",
            ("Elbaz", "Gilad Yehudai", "Galun", "Haggai Maron"),
            2024,
        ),
        ("reconstruct_invariant",),
        "missing: orbit-aware reconstruction for networks invariant to a group, scored modulo the group",
    ),
    Record(
        Paper(
            "2505.19019",
            "Querying Kernel Methods Suffices for Reconstructing their Training Data",
            ("Barzilai", "Margalit", "Gronich", "Gilad Yehudai", "Galun", "Basri"),
            2025,
        ),
        ("reconstruct_from_queries",),
        "missing: training data of kernel machines from their scores alone, by optimisation and by algebra",
    ),
    Record(
        Paper(
            "2510.15804",
            "Emergence of Linear Truth Encodings in Language Models",
            ("Shauli Ravfogel", "Gilad Yehudai", "Tal Linzen", "Joan Bruna", "Alberto Bietti"),
            2025,
            "Advances in Neural Information Processing Systems",
        ),
        ("TruthProbe", "two_phase_report"),
        "missing: the one-layer model in which a truth direction emerges, and probes for it",
    ),
    Record(
        Paper(
            "2605.12426",
            "Geometric Factual Recall in Transformers",
            ("Shauli Ravfogel", "Gilad Yehudai", "Joan Bruna", "Alberto Bietti"),
            2026,
        ),
        ("build_superposition_weights", "superposition_report"),
        "missing: written-down transformers that recall facts by superposition, and probes for trained ones",
    ),
)

ATTACK_AND_ERASE = (
    Record(
        Paper(
            "2407.02240",
            "MALT Powers Up Adversarial Attacks",
            ("Odelia Melamed", "Gilad Yehudai", "Adi Shamir"),
            2024,
            "Advances in Neural Information Processing Systems",
        ),
        ("rank_targets", "malt", "evaluate_robustness"),
        "missing: targets ordered by mesoscopic linearity and the attack suite around them",
    ),
    Record(
        Paper(
            "2202.04347",
            "Gradient Methods Provably Converge to Non-Robust Networks",
            ("Gal Vardi", "Gilad Yehudai", "Ohad Shamir"),
            2022,
            "Advances in Neural Information Processing Systems",
        ),
        ("universal_margin_perturbation", "robust_two_layer", "robustness_gap"),
        "missing: the one direction that flips every margin point, and the robust network of equal width",
    ),
    Record(
        Paper(
            "2303.00783",
            "Adversarial Examples Exist in Two-Layer ReLU Networks for Low Dimensional Linear Subspaces",
            ("Odelia Melamed", "Gilad Yehudai", "Gal Vardi"),
            2023,
            "Advances in Neural Information Processing Systems",
        ),
        ("off_subspace_robustness", "subspace_attack"),
        "missing: predicted and true flip radius off the data subspace, and the remedy",
    ),
    Record(
        Paper(
            "2510.14844",
            "Provable Unlearning with Gradient Ascent on Two-Layer ReLU Neural Networks",
            ("Odelia Melamed", "Gilad Yehudai", "Gal Vardi"),
            2025,
        ),
        ("unlearn", "unlearning_certificate"),
        "missing: one calibrated gradient-ascent step that removes a sample, with its certificate",
    ),
)

CONSTRUCT = (
    Record(
        Paper(
            "2110.03187",
            "On the Optimal Memorization Power of ReLU Neural Networks",
            ("Gal Vardi", "Gilad Yehudai", "Ohad Shamir"),
            2022,
            "International Conference on Learning Representations",
        ),
        ("memorize", "memorization_lower_bound"),
        "missing: a network of about sqrt(N) weights, written down exactly, that memorises N points",
    ),
    Record(
        Paper(
            "2502.11162",
            "Logarithmic Width Suffices for Robust Memorization",
            ("Amitsour Egosi", "Gilad Yehudai", "Ohad Shamir"),
            2025,
            "Conference on Learning Theory",
        ),
        ("memorize_robustly", "max_robust_radius", "width_bounds"),
        "missing: memorisation that keeps its labels inside a ball around every point",
    ),
    Record(
        Paper(
            "2202.03841",
            "Width is Less Important than Depth in ReLU Neural Networks",
            ("Gal Vardi", "Gilad Yehudai", "Ohad Shamir"),
            2022,
            "Conference on Learning Theory",
        ),
        ("narrow",),
        "missing: any network rewritten as a narrow deep one, exactly or approximately",
    ),
    Record(
        Paper(
            "2002.00585",
            "Proving the Lottery Ticket Hypothesis: Pruning is All You Need",
            ("Eran Malach", "Gilad Yehudai", "Shai Shalev-Shwartz", "Ohad Shamir"),
            2020,
            "International Conference on Machine Learning",
        ),
        ("prune_to_target",),
        "missing: masks that turn a random network into a given one, with the error verified",
    ),
    Record(
        Paper(
            "2102.00434",
            "The Connection Between Approximation, Depth Separation and Learnability in Neural Networks",
            ("Eran Malach", "Gilad Yehudai", "Shai Shalev-Shwartz", "Ohad Shamir"),
            2021,
            "Conference on Learning Theory",
        ),
        ("weak_learnability_report",),
        "missing: depth-separated targets and the diagnostics that say which are learnable",
    ),
    Record(
        Paper(
            "2407.15160",
            "When Can Transformers Count to n?",
            (
                "Gilad Yehudai",
                "Haim Kaplan",
                "Guy Dar",
                "Royi Rassin",
                "Asma Ghandeharioun",
                "Mor Geva",
                "Amir Globerson",
            ),
            2024,
        ),
        ("histogram_counter", "count_attend", "capacity_report"),
        "missing: transformers written down that count tokens, and where precision ends them",
    ),
    Record(
        Paper(
            "2407.16153",
            "Quality over Quantity in Attention Layers: When Adding More Heads Hurts",
            ("Noah Amsel", "Gilad Yehudai", "Joan Bruna"),
            2025,
            "International Conference on Learning Representations",
        ),
        ("nearest_neighbor_head", "mse_lower_bound", "rank_audit"),
        "missing: full-rank and low-rank attention on nearest neighbours, bounds and a rank audit",
    ),
    Record(
        Paper(
            "2503.01544",
            "Compositional Reasoning with Transformers, RNNs, and Chain of Thought",
            ("Gilad Yehudai", "Noah Amsel", "Joan Bruna"),
            2025,
            "Advances in Neural Information Processing Systems",
        ),
        ("compositional_question", "deep_solver", "recurrent_solver", "chain_of_thought_solver"),
        "missing: tree-shaped questions and three exact solvers, deep, recurrent and with chain of thought",
    ),
    Record(
        Paper(
            "2503.01805",
            "Depth-Width Tradeoffs for Transformers on Graph Tasks",
            (
                "Gilad Yehudai",
                "Clayton Sanford",
                "Maya Bechler-Speicher",
                "Orr Fischer",
                "Ran Gilad-Bachrach",
                "Amir Globerson",
            ),
            2025,
            "Advances in Neural Information Processing Systems",
        ),
        ("matrix_power", "triangle_counter", "two_cycle_detector", "subgraph_counter"),
        "missing: transformers written down for graph tasks, with their depth and width",
    ),
)

LEARN = (
    Record(
        Paper(
            "2605.22471",
            "Lost in Tokenization: Fundamental Trade-offs in Graph Tokenization for Transformers",
            (
                "Maya Bechler-Speicher",
                "Gilad Yehudai",
                "Gil Harari",
                "Clayton Sanford",
                "Amir Globerson",
                "Joan Bruna",
            ),
            2026,
        ),
        ("tokenize_graph", "is_lossless", "collides"),
        "missing: graph tokenisations, what each loses, and witnesses of it",
    ),
    Record(
        Paper(
            "2010.08853",
            "From Local Structures to Size Generalization in Graph Neural Networks",
            ("Gilad Yehudai", "Ethan Fetaya", "Eli Meirom", "Gal Chechik", "Haggai Maron"),
            2021,
            "International Conference on Machine Learning",
        ),
        ("d_patterns", "size_shift_report", "bad_minimum"),
        "missing: d-patterns, the shift between sizes, and the minimum that fails on larger graphs",
    ),
    Record(
        Paper(
            "2311.13877",
            "Locally Optimal Descent for Dynamic Stepsize Scheduling",
            ("Gilad Yehudai", "Alon Cohen", "Amit Daniely", "Yoel Drori", "Tomer Koren", "Mariano Schain"),
            2025,
            "International Conference on Artificial Intelligence and Statistics",
        ),
        ("LocallyOptimal",),
        "missing: a step size read off the local curvature, around any optimiser",
    ),
    Record(
        Paper(
            "2401.07606",
            "RedEx: Beyond Fixed Representation Methods via Convex Optimization",
            ("Amit Daniely", "Mariano Schain", "Gilad Yehudai"),
            2024,
            "International Conference on Algorithmic Learning Theory",
        ),
        ("RedExRegressor", "RedExClassifier"),
        "missing: layers learned by convex programmes, as scikit-learn estimators",
    ),
    Record(
        Paper(
            "2305.15141",
            "From Tempered to Benign Overfitting in ReLU Neural Networks",
            ("Guy Kornowski", "Gilad Yehudai", "Ohad Shamir"),
            2023,
            "Advances in Neural Information Processing Systems",
        ),
        ("overfitting_profile", "max_margin_1d"),
        "missing: how the error of an interpolating network grows with label noise, by dimension",
    ),
    Record(
        Paper(
            "1904.00687",
            "On the Power and Limitations of Random Features for Understanding Neural Networks",
            ("Gilad Yehudai", "Ohad Shamir"),
            2019,
            "Advances in Neural Information Processing Systems",
        ),
        ("RandomFeatures", "random_features_scaling"),
        "missing: what random features can and cannot approximate, measured",
    ),
    Record(
        Paper(
            "2001.05205",
            "Learning a Single Neuron with Gradient Methods",
            ("Gilad Yehudai", "Ohad Shamir"),
            2020,
            "Conference on Learning Theory",
        ),
        ("certify_descent",),
        "missing: when gradient descent provably learns one neuron, with its certificate",
    ),
    Record(
        Paper(
            "2106.01101",
            "Learning a Single Neuron with Bias Using Gradient Descent",
            ("Gal Vardi", "Gilad Yehudai", "Ohad Shamir"),
            2021,
            "Advances in Neural Information Processing Systems",
        ),
        ("single_neuron_flow",),
        "missing: the flow of one neuron with bias in closed form, and which starts fail",
    ),
    Record(
        Paper(
            "2006.01005",
            "The Effects of Mild Over-parameterization on the Optimization Landscape of Shallow ReLU Neural Networks",
            ("Itay Safran", "Gilad Yehudai", "Ohad Shamir"),
            2021,
            "Conference on Learning Theory",
        ),
        ("find_minima", "certify_local_minimum"),
        "missing: a catalogue of spurious minima of small teacher networks, each certified",
    ),
)

RECORDS: tuple[Record, ...] = READ + ATTACK_AND_ERASE + CONSTRUCT + LEARN


def record(arxiv: str) -> Record:
    """The record of one paper.

    Args:
        arxiv: its arXiv number, with or without "arXiv:" and a version.

    Returns:
        The record.

    Raises:
        ValueError: vestige has no such paper.

    >>> record("arXiv:2206.07758v2").paper.year
    2022
    """
    number = arxiv.strip().lower().removeprefix("arxiv:").split("v")[0]
    for known in RECORDS:
        if known.paper.arxiv == number:
            return known
    raise ValueError(
        f"{arxiv!r} given; allowed are the arXiv numbers of the thirty papers, such as 2206.07758. "
        "`vestige papers` lists them."
    )
