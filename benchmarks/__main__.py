"""Runs every benchmark and prints one line each."""

from benchmarks.comply.full_matrix import main

main()
