"""What only this repository needs, and what is not installed: records of results, and their page.

A tool runs from the top of a clone, where tfresnet is installed: ``python -m tools.record RUN``.
"""
