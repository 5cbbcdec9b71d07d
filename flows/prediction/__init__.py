"""Answers for many images: which images are meant, and a table that is written part by part and can be resumed."""
