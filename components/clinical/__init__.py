"""Clinical assessment of each model: calibration, operating points, decision curves, abstention, subgroups."""
