"""ReLU networks of few classes: columns and inputs found together."""
