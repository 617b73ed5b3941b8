"""The exit codes of the command; docs/usage.md says the same."""

DONE = 0
SOME_FAILED = 1  #: each is named, with its crash file
USAGE = 2  #: an option, a recipe or a folder makes no sense
INVALID_INPUT = 16  #: the input dataset is invalid for every participant that was asked for
NOTHING_TO_DO = 65  #: the filters leave nothing
INTERNAL = 70  #: a fault of the program
INTERRUPTED = 130
