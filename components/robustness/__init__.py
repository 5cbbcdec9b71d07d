"""Test images with graded corruptions, and test images without the lesion."""
