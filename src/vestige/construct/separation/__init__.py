"""Functions that deep networks express, and what tells whether they are learned (arXiv 2102.00434)."""

KINDS = "sawtooth:DEPTH, wave:POWER, parity:N[:OF_THEM], staircase:N:STEPS, inner:DIM[:FREQUENCY], ball:DIM, neuron:DIM"
