"""What is trained, on what and how: sections, their YAML, presets."""
