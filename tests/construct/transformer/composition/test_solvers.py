"""Three architectures give every tree its answer, and fail where the theory says that they must."""

import itertools

import pytest
import torch

import vestige as vg

BUILD = vg.construct
NODES, DIM = 31, 2


@pytest.fixture(scope="module")
def deep():
    return BUILD.build_crq_transformer(NODES, DIM, 12)


@pytest.fixture(scope="module")
def chain():
    return BUILD.build_crq_chain_of_thought(NODES, DIM)


@pytest.fixture(scope="module")
def rnn():
    return BUILD.build_crq_rnn(NODES, DIM)


def questions(count, most_children, seed=0):
    for k in range(count):
        draw = torch.Generator().manual_seed(1000 * seed + k)
        n = 1 + int(torch.randint(NODES, (1,), generator=draw))
        chained = 1 if k % 7 == 6 else most_children
        yield BUILD.random_question(min(n, 12) if chained == 1 else n, DIM, most_children=chained, generator=draw)


def test_certificates_hold(deep, chain, rnn):
    for built in (deep, chain, rnn):
        assert built.certificate.holds, built.certificate.table()


def test_three_solvers_agree_with_the_recursion(deep, chain, rnn):
    codes = chain.specification.given
    for question in questions(60, 2):
        wanted = question.answers()[question.root]
        if question.height <= 12:
            tokens = BUILD.question_tokens(question, deep.specification.given)
            assert torch.equal(deep.network(tokens)[0].round(), wanted)
        assert torch.equal(rnn.network(BUILD.question_steps(question))[0], wanted)
        if len(question.parents) > 1:
            written = BUILD.solve_by_chain(chain.network, question, torch.from_numpy(codes))
            assert torch.equal(written[-1], wanted)
            assert len(written) == sum(map(bool, question.children))  # a token for each inner node


@pytest.mark.slow  # a minute
def test_a_thousand_trees_of_63_nodes():
    deep, rnn = BUILD.build_crq_transformer(63, DIM, 24), BUILD.build_crq_rnn(63, DIM)
    for seed in range(1000):
        draw = torch.Generator().manual_seed(seed)
        question = BUILD.random_question(1 + seed % 63, DIM, most_children=2, generator=draw)
        wanted = question.answers()[question.root]
        if question.height <= 24:
            tokens = BUILD.question_tokens(question, deep.specification.given)
            assert torch.equal(deep.network(tokens)[0].round(), wanted)
        assert torch.equal(rnn.network(BUILD.question_steps(question))[0], wanted)


def test_trees_with_four_children(deep, chain):
    for question in questions(20, 4, seed=1):
        wanted = question.answers()[question.root]
        if question.height <= 12:
            tokens = BUILD.question_tokens(question, deep.specification.given)
            assert torch.equal(deep.network(tokens)[0].round(), wanted)
        if len(question.parents) > 1:
            written = BUILD.solve_by_chain(chain.network, question, torch.from_numpy(chain.specification.given))
            assert torch.equal(written[-1], wanted)


@pytest.mark.slow  # two minutes
def test_a_chain_of_thought_for_a_thousand_trees_of_63_nodes():
    chain = BUILD.build_crq_chain_of_thought(63, DIM)
    codes = torch.from_numpy(chain.specification.given)
    for seed in range(1000):
        draw = torch.Generator().manual_seed(seed)
        children = 1 if seed % 7 == 0 else 2
        question = BUILD.random_question(2 + seed % 62, DIM, most_children=children, generator=draw)
        written = BUILD.solve_by_chain(chain.network, question, codes)
        assert torch.equal(written[-1], question.answers()[question.root])


def formulas():
    """All of up to four leaves, with all values."""
    shapes = ["{0}", "{0} {4} {1}", "({0} {4} {1}) {5} {2}", "({0} {4} {1}) {5} ({2} {6} {3})"]
    shapes.append("(({0} {4} {1}) {5} {2}) {6} {3}")
    leaves = [f"{sign}{name}" for name in "abcd" for sign in ("", "~")]
    for shape, signs in itertools.product(shapes, itertools.product("&|", repeat=3)):
        text = shape.format(*leaves[1:8:2], *signs)
        question, _ = BUILD.formula_question(text)
        for values in itertools.product([-1.0, 1.0], repeat=4):
            labels = question.labels.clone()
            for node, value in zip([k for k, c in enumerate(question.children) if not c], values, strict=False):
                labels[node] = value
            yield BUILD.CompositionalQuestion(question.parents, labels)


def test_formulas_of_up_to_four_leaves():
    deep, rnn = BUILD.build_crq_transformer(7, 1, 3, largest=1), BUILD.build_crq_rnn(7, 1, largest=1)
    for asked in formulas():
        wanted = asked.answers()[asked.root]
        tokens = BUILD.question_tokens(asked, deep.specification.given)
        assert torch.equal(deep.network(tokens)[0].round(), wanted)
        assert torch.equal(rnn.network(BUILD.question_steps(asked))[0], wanted)


@pytest.mark.slow  # ten seconds
def test_formulas_by_a_chain_of_thought():
    chain = BUILD.build_crq_chain_of_thought(7, 1, largest=1)
    codes = torch.from_numpy(chain.specification.given)
    for asked in formulas():
        if len(asked.parents) > 1:
            assert torch.equal(BUILD.solve_by_chain(chain.network, asked, codes)[-1], asked.answers()[asked.root])


def test_one_layer_less_is_wrong_on_a_chain():
    """The leaf's answer must climb all of the chain."""
    height = 6
    labels = torch.tensor([[1.0]] * height + [[-2.0]])
    question = BUILD.CompositionalQuestion(torch.arange(-1, height), labels)
    for layers in (height, height - 1):
        built = BUILD.build_crq_transformer(height + 1, 1, layers)
        found = built.network(BUILD.question_tokens(question, built.specification.given)).round()
        assert (found == -2) == (layers == height)


def test_a_slot_less_than_the_memory_rank_is_wrong_somewhere():
    complete = torch.tensor([-1, *((k - 1) // 2 for k in range(1, 15))])
    short = BUILD.build_crq_rnn(15, 1, slots=3, largest=1).network
    enough = BUILD.build_crq_rnn(15, 1, slots=4, largest=1).network
    wrong = 0
    for seed in range(30):
        signs = 2.0 * torch.randint(0, 2, (15, 1), generator=torch.Generator().manual_seed(seed)) - 1
        question = BUILD.CompositionalQuestion(complete, signs)
        assert question.memory_rank == 4
        steps, wanted = BUILD.question_steps(question), question.answers()[question.root]
        assert torch.equal(enough(steps)[0], wanted)
        wrong += not torch.equal(short(steps)[0], wanted)
    assert wrong > 0


def test_errors_before_rounding_are_tiny_and_random_codes_do_it_too():
    built = BUILD.build_crq_transformer(150, 2, 18)
    assert built.specification.given.shape == (150, 128)  # random signs
    assert built.certificate.holds and built.certificate.claims[1].measured < 1e-6
    assert BUILD.precision_sweep(built, dtypes=[torch.bfloat16]).exact_rates == (1.0,)  # 8 bits tell 26 from 0 at 1,000


def test_large_labels_are_beyond_eight_bits():
    """Codes must outweigh all scores: logits near 10,000, of which a bfloat16 does not see the last 26."""
    built = BUILD.build_crq_transformer(3, 8, 1, largest=4)
    labels = torch.full((3, 8), 4.0).double()
    labels[0, 7], labels[2, 7] = 1.0, 3.0  # scores 116 and 115
    question = BUILD.CompositionalQuestion(torch.tensor([-1, 0, 0]), labels)
    tokens = BUILD.question_tokens(question, built.specification.given)
    sweep = BUILD.precision_sweep(built, tokens, dtypes=[torch.float32, torch.bfloat16])
    assert sweep.exact_rates == (1.0, 0.0) and sweep.counterexamples[1] is not None


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: BUILD.build_crq_transformer(0, 1, 1), "at least 1"),
        (lambda: BUILD.build_crq_transformer(3, 1, 0), "height=0"),
        (lambda: BUILD.build_crq_chain_of_thought(1, 1), "at least 2"),
        (lambda: BUILD.build_crq_rnn(3, 1, slots=0), "slots=0"),
        (lambda: BUILD.build_crq_rnn(3, 1).network(torch.zeros(1, 2, 3)), "batch, n, 2"),
        (
            lambda: BUILD.solve_by_chain(
                torch.nn.Identity(), BUILD.random_question(1, 1), torch.eye(3, dtype=torch.float64)
            ),
            "a single node",
        ),
    ],
)
def test_what_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()
