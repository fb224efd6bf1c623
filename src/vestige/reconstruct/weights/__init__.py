"""Training data from the weights of a network."""
