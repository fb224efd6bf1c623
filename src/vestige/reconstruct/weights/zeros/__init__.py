"""ReLU networks of any depth whose first layer is a sum of one sparse column a sample."""
