"""``python -m tfresnet.cli``: the ``tfresnet`` command of this Python."""

from tfresnet.cli.main import main

main(prog_name="tfresnet")
