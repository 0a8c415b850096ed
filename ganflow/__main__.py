"""``python -m ganflow`` is the ``ganflow`` command."""

from ganflow.cli import main

main()
