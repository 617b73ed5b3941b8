"""Nipype interfaces, one file a stage: unpack the inputs, call `cinebold`, list the outputs."""
