"""ReLU networks in exact numbers: their layers, their values at many points, and how many bits a float needs."""
