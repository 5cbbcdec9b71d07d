"""Images and their tables: adapters, records, vocabulary, pseudonyms, splits, leaks, packed pixels, lesion masks."""
