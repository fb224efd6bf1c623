"""Two-layer ReLU networks: samples found and checked one at a time."""
