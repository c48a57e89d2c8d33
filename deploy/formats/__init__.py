"""Convert networks to the formats of exported files."""
