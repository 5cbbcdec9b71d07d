"""Images and their table: adapters, records, vocabulary, pseudonyms, splits, packed pixels, the lesion outline."""
