"""What a device runs: numpy, Pillow and an interpreter, and nothing of tfresnet above it."""
