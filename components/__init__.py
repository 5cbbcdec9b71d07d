"""The nouns: records, pixels, backbones, metrics. They know no path of their own and no orchestrator."""
