"""Names of the embedded U-Nets, of the choice between them, and of the reason why a run has its detector and segmenter."""

ONE_TISSUE, SEVERAL_TISSUES = "unet-small", "unet-varied"
"""The embedded U-Nets: what the first knows it knows better, the second knows more."""

AUTO = "auto"
"""Whichever of them suits a volume."""

NAMED = "named"
"""Why what the user has named is taken."""
