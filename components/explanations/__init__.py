"""Which pixels a prediction depends on, nearest train lesions, most confident errors."""
