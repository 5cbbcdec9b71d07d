"""Which pixels a prediction rests on, nearest training lesions, most confident errors."""
