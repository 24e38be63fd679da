"""The same question put to the real thing: what real components answered, as recordings."""
