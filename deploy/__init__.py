"""From a run to files on a device, and the numbers to trust them."""
