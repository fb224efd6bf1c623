"""What the thirty papers give a user, and which of them work today."""

from vestige.core.cite import paper
from vestige.papers.record import Record

ATTACK = ("reconstruct_from_weights", "score_reconstruction", "stationarity", "train_to_margin", "check_theory")

READ = (
    Record(
        paper("2206.07758"),
        ATTACK,
        "works: binary classifiers, by the published procedure and by our own solver",
    ),
    Record(
        paper("2305.03350"),
        ATTACK,
        "works: several classes, one competitor or all; the 100-class experiment is not repeated",
    ),
    Record(
        paper("2307.01827"),
        ATTACK,
        "works: weight decay, squared, Huber, logistic and cross-entropy losses, MLPs and small CNNs",
    ),
    Record(
        paper("2407.15845"),
        ("reconstruct_from_embeddings", "reconstruct.invert_embedding"),
        "works: embeddings from heads on a frozen backbone, looked up in a gallery or inverted to images; no UnCLIP",
    ),
    Record(
        paper("2411.16458"),
        ("reconstruct.reconstruct_invariant",),
        "works: averages over rotations and shifts, circular CNNs, by our solver; sets of images do not come back",
    ),
    Record(
        paper("2505.19019"),
        ("reconstruct_from_queries",),
        "works: points of kernel machines from their scores, by algebra or the published descent; not at full size",
    ),
    Record(
        paper("2510.15804"),
        ("probe.TruthProbe", "probe.two_phase_report", "probe.probe_transfer", "probe.truth_statistics"),
        "works: the one-layer model, its two phases and their control, probes across topics; no language model run",
    ),
    Record(
        paper("2605.12426"),
        (
            "construct.build_factual_recall",
            "construct.edit_fact",
            "construct.train_recall",
            "construct.fit_superposition",
        ),
        "works: written-down transformers that recall facts in one hop or several; small trained ones, probed",
    ),
)

ATTACK_AND_ERASE = (
    Record(
        paper("2407.02240"),
        ("attack.rank_targets", "attack.malt", "evaluate_robustness"),
        "works: the target order, the published attack, a faster one, AutoAttack; no CIFAR-100 or ImageNet figures",
    ),
    Record(
        paper("2202.04347"),
        ("attack.universal_margin_perturbation", "construct.robust_two_layer", "papers.robustness_gap"),
        "works: the direction that flips every margin point, the robust network, both against d and n; no width sweep",
    ),
    Record(
        paper("2303.00783"),
        ("attack.off_subspace_robustness", "attack.subspace_attack", "attack.project_weights"),
        "works: predicted and true radius off the data's span, the law of training there, the remedy; no chessboard",
    ),
    Record(
        paper("2510.14844"),
        ("unlearn", "unlearning.unlearning_certificate", "unlearning.evaluate_unlearning"),
        "works: a calibrated step that removes samples, with a certificate, judged by retraining and by the attack",
    ),
)

CONSTRUCT = (
    Record(
        paper("2110.03187"),
        ("memorize", "construct.memorization_lower_bound"),
        "works: about sqrt(N) weights, or few layers, or few bits, exact at every point; floats up to 52 bits of code",
    ),
    Record(
        paper("2502.11162"),
        ("construct.memorize_robustly", "construct.max_robust_radius", "construct.width_bounds"),
        "works: labels kept exactly in a ball around every point, at width m + 3, proved; any l_p, found projections",
    ),
    Record(
        paper("2202.03841"),
        ("construct.narrow",),
        "works: ReLU chains as narrow deep networks, equal or near with bounded weights, errata repaired",
    ),
    Record(
        paper("2002.00585"),
        (
            "construct.prune_to_target",
            "construct.random_subset_sum",
            "construct.required_width",
            "construct.edge_popup",
        ),
        "works: masks that turn a random network into a given one, certified on a ball; no convolutions",
    ),
    Record(
        paper("2102.00434"),
        (
            "construct.weak_learnability_report",
            "construct.learning_run",
            "construct.sawtooth_target",
            "construct.parity_target",
            "construct.gradient_variance",
        ),
        "works: targets that separate depths, what of them shows before training, a verdict in one direction",
    ),
    Record(
        paper("2407.15160"),
        (
            "construct.build_counter",
            "construct.build_most_frequent",
            "construct.counting_capacity",
            "construct.precision_sweep",
            "construct.counting_phase",
        ),
        "works: transformers that count, proved from their weights; where precision ends them; small trainings",
    ),
    Record(
        paper("2407.16153"),
        (
            "construct.build_nearest_neighbor",
            "construct.build_rank_one_majority",
            "construct.rank_lower_bound",
            "construct.rank_audit",
            "construct.rank_sweep",
        ),
        "works: heads of full rank and of rank one on nearest points, bounds, an audit; trained in one layer only",
    ),
    Record(
        paper("2503.01544"),
        (
            "construct.CompositionalQuestion",
            "construct.build_crq_transformer",
            "construct.build_crq_rnn",
            "construct.build_crq_chain_of_thought",
        ),
        "works: tree-shaped questions and three exact solvers, deep, recurrent and with chain of thought; none trained",
    ),
    Record(
        paper("2503.01805"),
        (
            "construct.build_matrix_power",
            "construct.build_triangle_counter",
            "construct.build_connectivity",
            "construct.build_two_cycle_detector",
            "construct.build_subgraph_counter",
            "construct.leak_audit",
        ),
        "works: transformers written down for graph tasks, rules that solve its benchmark, small trainings",
    ),
)

LEARN = (
    Record(
        paper("2605.22471"),
        ("graphs.tokenize", "graphs.is_lossless", "graphs.collides", "graphs.compare_tokenizations"),
        "works: four kinds of tokens, what each loses, pairs that prove it, small trainings; no full benchmark",
    ),
    Record(
        paper("2010.08853"),
        ("graphs.d_patterns", "graphs.size_shift_report", "graphs.bad_minimum", "graphs.train_across_sizes"),
        "works: d-patterns, a verdict before training, the bad minimum for degrees, the pattern-tree task",
    ),
    Record(
        paper("2311.13877"),
        ("optim.LocallyOptimalStep", "optim.LocallyOptimalSchedule"),
        "works: a step size without a schedule, around any linear optimizer; the paper's own estimator is not known",
    ),
    Record(
        paper("2401.07606"),
        (
            "convex.RedExRegressor",
            "convex.RedExClassifier",
            "convex.ConvRedEx",
            "convex.to_redex",
            "convex.redex_norm",
            "convex.compile_circuit",
        ),
        "works: layers by convex programs with proved gaps, as scikit-learn estimators; errata repaired",
    ),
    Record(
        paper("2305.15141"),
        ("landscape.overfitting_profile", "convex.max_margin_1d"),
        "works: error against label noise by dimension, a verdict with its interval, the exact network on the line",
    ),
    Record(
        paper("1904.00687"),
        ("landscape.fit_features", "landscape.random_feature_bound", "landscape.periodic_relu_sum"),
        "works: exact errors of fixed features, two bounds below, one neuron; the theorems' constants are open",
    ),
    Record(
        paper("2001.05205"),
        ("landscape.neuron_descent", "landscape.neuron_flow", "landscape.one_point_terms"),
        "works: exact descent and flow of one neuron, its guarantees checked on the way; no stochastic gradients",
    ),
    Record(
        paper("2106.01101"),
        ("landscape.neuron_certificate", "landscape.dead_start_probability"),
        "works: which starts provably learn a neuron with bias and which never will; published rates are not tested",
    ),
    Record(
        paper("2006.01005"),
        (
            "landscape.find_spurious_minima",
            "landscape.certify_minimum",
            "landscape.known_minima",
            "landscape.split_spectrum",
            "landscape.grow",
        ),
        "works: spurious minima with proofs for up to 20 neurons, and the split that leaves them; not beyond 20",
    ),
)

RECORDS: tuple[Record, ...] = READ + ATTACK_AND_ERASE + CONSTRUCT + LEARN
