"""Training data of networks that a group leaves alone."""
