"""How near a reconstruction comes to the truth, and what chance reaches."""
