"""The errors a user can cause. A message is one sentence: what was expected, what was found, where, what to do."""


class CineboldError(Exception):
    """Base of every error that cinebold raises on purpose."""


class InputError(CineboldError):
    """A file or dataset is not what it must be; the message names the file."""


class NothingSelectedError(InputError):
    """The filters leave no run and no film."""


class SettingError(CineboldError):
    """An option, a recipe or an argument has a value that makes no sense."""


class MissingWeightsError(SettingError):
    """A network was asked for and its weights are not on this machine."""


class DownloadError(CineboldError):
    """A file that the user asked for could not be downloaded."""
