"""What the state API raises."""


class RayStateApiException(Exception):
    """The question cannot be answered: a column that cannot be filtered by, a limit that is too high."""


class ServerUnavailable(RayStateApiException):
    """Never raised: minray has no server to ask. Here for programs that catch it."""
