"""A run's results for other programs: one file for each kind that is written, behind one protocol.

A kind gets a :class:`~mitoscale.export.exported.Content`, cut to a region and a level, and a temporary name to write to; what it
has written gets its own name when it is whole. To add a kind, write a module with a ``KIND`` and name it in
:mod:`mitoscale.export.all_kinds`.
"""
