"""Names of the embedded U-Nets, and the one that leaves the choice between them to the volume."""

ONE_TISSUE, SEVERAL_TISSUES = "unet-small", "unet-varied"
"""The embedded U-Nets: what the first knows it knows better, the second knows more."""

AUTO = "auto"
"""Whichever of them suits a volume."""
