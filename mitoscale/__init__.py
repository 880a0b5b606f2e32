"""Find every mitochondrion in large electron-microscopy volumes."""

__version__ = "0.1.0"
