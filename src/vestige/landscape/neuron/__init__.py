"""One neuron learns another one by gradient descent: when it must, when it cannot, and how the landscape looks."""
