"""The answer to the study's question: paired comparison of the arms, verdict, overfitting gap, main page."""
