"""Exact expectations of pairs of neurons over Gaussian inputs, and the population loss of networks made of them."""
