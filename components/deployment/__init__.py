"""The model for use: a bundle that holds all that an answer needs, and what computes answers from it."""
