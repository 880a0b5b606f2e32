"""What ``import mitoscale`` offers to scripts and notebooks; the names are gathered in :mod:`mitoscale` itself."""
