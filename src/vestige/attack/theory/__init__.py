"""Why trained networks are fooled."""
