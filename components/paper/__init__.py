"""The paper's seven claims, each with our number, its interval and one word."""
