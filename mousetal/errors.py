"""All errors that mousetal raises on purpose.

    MousetalError
    ├── SettingsError      a key of .env, an environment variable or a flag is missing or wrong       (exit code 2)
    ├── VideoError         a file is no video, or cannot be read
    ├── ModelError         a model folder is missing, of the wrong kind, or its weights do not fit
    ├── RecordError        a result or annotation file is unreadable or malformed
    ├── OutputError        a result cannot be written (read-only, disk full, another driver holds the folder)
    ├── ServiceError       a service refused or failed a request
    │   └── ServiceUnavailable   it cannot be reached, or went away; worth retrying
    └── InvalidRequest     a request to a service does not make sense (answered as INVALID_ARGUMENT)

A message says what was expected, what came, where, and what to do. Anything else that escapes is a defect of ours.
"""


class MousetalError(Exception):
    """An expected failure, with a message fit for the user's eyes."""


class SettingsError(MousetalError):
    """A setting is missing or has a value that makes no sense."""


class VideoError(MousetalError):
    """A file is no video, or cannot be read as one."""


class ModelError(MousetalError):
    """A model folder is missing, of the wrong kind, or its weights do not fit its configuration."""


class RecordError(MousetalError):
    """A result or annotation file is unreadable or malformed."""


class OutputError(MousetalError):
    """A result cannot be written where it should go."""


class ServiceError(MousetalError):
    """A model service refused or failed a request."""


class ServiceUnavailable(ServiceError):
    """A model service cannot be reached or went away; the work may be retried."""


class InvalidRequest(MousetalError):
    """A request to a service does not make sense."""
