"""Networks of about sqrt(n) weights that give n points their labels (arXiv 2110.03187)."""
