"""Networks: encoder, backbones, classifier, and the safetensors files that hold their weights."""
