"""From names and folders to batches: sources, then augmentation, then the pipeline."""
