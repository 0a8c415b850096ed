"""One plain PyTorch loop for each program of the zoo, written from the paper; what they share is in common.py."""
