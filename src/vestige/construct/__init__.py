"""Networks whose weights are computed: each with its size, its specification and a certificate."""
