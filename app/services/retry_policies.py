"""Reads the operator's file of retry policies."""

import tomllib
from pathlib import Path

from app.domain.errors import InvalidInput
from app.domain.retry_policy import DEFAULT_POLICIES, RetryPolicies
from app.domain.retry_policy_file import parse_policies
from app.settings import SettingsError


def load_retry_policies(file: Path | None) -> RetryPolicies:
    """Return the retry policies of a TOML file, merged over the defaults.

    Raises SettingsError, with a one-sentence message, if the file cannot be read or is invalid.
    """
    if file is None:
        return DEFAULT_POLICIES
    try:
        return parse_policies(tomllib.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        problem = f"cannot be read: {error.strerror}."
    except (ValueError, RecursionError) as error:  # of the encoding, the syntax, or a number
        problem = f"is not TOML: {error}."
    except InvalidInput as error:
        problem = f"is invalid: {error.message}"
    raise SettingsError(f"RETRY_POLICY_FILE: {file} {problem}")
