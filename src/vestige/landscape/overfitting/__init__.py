"""How much of the noise in its labels does a model that fits them all repeat on new inputs?"""
