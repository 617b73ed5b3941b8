"""Voxelwise encoding models of films: the science of cinebold, importable on its own.

Arrays and paths in, arrays out. Nothing here knows a BIDS layout, a workflow engine or a command line, and importing
this package loads none of the heavy libraries (torch, pytorchvideo, matplotlib): they are imported where they are used.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("cinebold")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
