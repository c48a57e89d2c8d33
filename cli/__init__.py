"""The ``tfresnet`` command: one short file a command, heavy imports inside its body."""
