"""RedEx (arXiv 2401.07606): layers of quadratic features that are learned by convex programs."""
