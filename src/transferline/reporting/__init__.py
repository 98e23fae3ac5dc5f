"""Plots, the HTML report of a study, and results pages built from Records."""
