"""Networks: encoder, backbones, classifier, and the safetensors files that carry their weights."""
