"""Pictures, tables and panels, all drawn from the same decisions."""
