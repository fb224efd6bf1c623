"""Trees, their answers, the memory that they take, and Boolean formulas as trees."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import vestige as vg

BUILD = vg.construct


def tree(parents, labels=None):
    n = len(parents)
    labels = torch.ones(n, 1) if labels is None else torch.tensor(labels)
    return BUILD.CompositionalQuestion(torch.tensor(parents), labels.double())


def complete(levels):
    """A complete binary tree."""
    return tree([-1, *((k - 1) // 2 for k in range(1, 2 ** (levels + 1) - 1))])


def by_recursion(question, node):
    below = [by_recursion(question, child) for child in question.children[node]]
    return max(below, key=lambda a: float(a @ question.labels[node])) if below else question.labels[node]


@settings(max_examples=20)
@given(n=st.integers(1, 25), dim=st.integers(1, 3), children=st.integers(1, 4), seed=st.integers(0, 999))
def test_answers_are_those_of_the_recursion(n, dim, children, seed):
    draw = torch.Generator().manual_seed(seed)
    question = BUILD.random_question(n, dim, most_children=children, generator=draw)
    found = question.answers()
    assert torch.equal(found[question.root], by_recursion(question, question.root))
    assert max(map(len, question.children)) <= children
    for kind in BUILD.NodeOrder:
        order = question.order(kind)
        assert sorted(order) == list(range(n)) and order[-1] == question.root
        assert all(order.index(child) < order.index(node) for node in range(n) for child in question.children[node])


@pytest.mark.parametrize("levels", [0, 1, 2, 5])
def test_a_complete_tree_takes_one_more_slot_for_each_level(levels):
    assert complete(levels).memory_rank == levels + 1 and complete(levels).height == levels


def test_a_caterpillar_takes_two_slots_and_a_chain_one():
    assert tree([-1, 0, 0, 1, 1, 3, 3]).memory_rank == 2
    assert tree([-1, 0, 1, 2]).memory_rank == 1
    assert tree([-1, 0, 0, 0]).memory_rank == 3  # a node waits for all three


def live(question, order):
    """Most answers that are known while their parents wait, a node's own included."""
    held, most = set(), 0
    for node in order:
        held -= set(question.children[node])
        held.add(node)
        most = max(most, len(held))
    return most


@settings(max_examples=20)
@given(n=st.integers(1, 40), seed=st.integers(0, 999))
def test_the_order_of_memory_rank_holds_no_more_than_that(n, seed):
    question = BUILD.random_question(n, 1, most_children=2, generator=torch.Generator().manual_seed(seed))
    assert live(question, question.order()) == question.memory_rank <= math.log2(n + 1)
    assert live(question, question.order("reverse_bfs")) >= question.memory_rank


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: tree([-1, -1]), "2 nodes with 2 roots"),
        (lambda: tree([1, 0]), "0 roots"),
        (lambda: tree([-1, 2, 1]), "2 of 3 nodes hang on a cycle"),
        (lambda: tree([-1, 5]), "below 2"),
        (lambda: tree([-1, 0], [[float("nan")], [1.0]]), "finite vectors"),
        (lambda: tree([-1, 0, 0], [[0.0], [1.0], [2.0]]).answers(), "a tie"),
        (lambda: BUILD.random_question(0, 1), "at least 1"),
        (lambda: BUILD.question_tokens(complete(2), BUILD.node_codes(3)), "a tree of 7 nodes given for 3 codes"),
        (lambda: BUILD.question_steps(tree([-1, 0, 0, 0])), "3 children given"),
        (lambda: BUILD.question_steps(complete(3), slots=3), "this tree needs 4"),
    ],
)
def test_what_is_no_question(call, said):
    with pytest.raises(ValueError, match=said):
        call()


FORMULAS = ["a", "~a", "a & b", "a | ~b", "~(a & b)", "(a | b) & (c | ~d)", "~(a | ~(b & c)) | d", "~~a & a"]


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_have_the_values_that_python_gives_them(text):
    question, leaves = BUILD.formula_question(text)
    names = sorted(leaves)
    for values in itertools.product([False, True], repeat=len(names)):
        labels = question.labels.clone()
        for name, value in zip(names, values, strict=True):
            labels[list(leaves[name])] *= 1.0 if value else -1.0
        found = BUILD.CompositionalQuestion(question.parents, labels).answers()[question.root].item() > 0
        python = text.replace("&", " and ").replace("|", " or ").replace("~", " not ")
        assert found == bool(eval(python, {}, dict(zip(names, values, strict=True))))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a name is needed"),
        ("a &", "the end"),
        ("(a | b", "'[)]' is needed"),
        ("a b", "an operator or the end"),
        ("a + b", "character 1"),
        ("(" * 300 + "a" + ")" * 300, "nested parentheses"),
        ("~" * 300 + "a", "nested negations"),
        ("a" * 200_000, "characters given"),
    ],
)
def test_formulas_that_cannot_be_read(text, said):
    with pytest.raises(ValueError, match=said):
        BUILD.formula_question(text)


def test_codes_have_length_one_and_differ():
    for codes in (BUILD.node_codes(300), BUILD.node_codes(20, one_hot=True), BUILD.node_codes(1)):
        lengths = (codes * codes).sum(1)
        assert lengths == pytest.approx(1.0)
    assert BUILD.node_codes(300).shape == (300, 144)
    assert BUILD.coherence(torch.from_numpy(BUILD.node_codes(300))) < 0.6
