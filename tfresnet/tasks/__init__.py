"""What differs between the tasks of a network: losses, metrics, and words."""
