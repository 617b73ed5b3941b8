"""Datasets with a known answer: films, raw BIDS, fMRIPrep derivatives, and the truth that was planted in them.

`dataset.simulate_dataset` invents everything; `on_layout.simulate_on_layout` plants BOLD in a real layout.
"""
