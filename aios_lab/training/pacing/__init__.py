"""Which samples a rank takes of each global batch, and how its optimizer steps with them."""
