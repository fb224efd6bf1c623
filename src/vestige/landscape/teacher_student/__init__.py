"""A student network that imitates a teacher: its minima that are not global, with proofs, and a neuron more."""
