"""What a user runs: arguments and recipes in, BIDS in, BIDS-Derivatives and reports out. No nipype."""
