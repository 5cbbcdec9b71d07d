"""The study's models on external test sets: label map, drop in performance, claims, page."""
