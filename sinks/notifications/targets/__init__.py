"""The kinds of targets, one file each: what a notice looks like there, and what its answers mean."""
