"""Model card and data sheet, with licences."""
