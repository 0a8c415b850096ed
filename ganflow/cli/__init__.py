"""The command line: one thin function per command. What it calls is imported when it runs.

ganflow run experiments/pix2pix.gin --set "lambda_A = 10"

Exit status: 0; 1 the run failed; 2 the input is wrong; 130 and 143 interrupted. An error is one message on stderr.
"""

from ganflow.cli.app import app, main, program

from ganflow.cli.runs import resume, run, verify_resume  # isort: skip - the order of the commands in the help
from ganflow.cli.looks import check, data, diff, plan, profile, source  # isort: skip
from ganflow.cli.ablate import ablate  # isort: skip
from ganflow.cli.results import replay, report, sample, tensorboard  # isort: skip

__all__ = [
    "ablate", "app", "check", "data", "diff", "main", "plan", "profile", "program", "replay", "report", "resume", "run",
    "sample", "source", "tensorboard", "verify_resume",
]  # fmt: skip
