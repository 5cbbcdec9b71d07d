"""A fold of a cross-validation: its clone of this checkout, and the stages that run there."""
