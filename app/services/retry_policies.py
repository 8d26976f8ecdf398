"""The operator's file of retry policies, read once at the start of a process. Decides nothing."""

import tomllib
from pathlib import Path

from app.domain.errors import InvalidInput
from app.domain.retry_policy import DEFAULT_POLICIES, RetryPolicies
from app.domain.retry_policy_tables import parse_policies
from app.settings import SettingsError


def load_retry_policies(file: Path | None) -> RetryPolicies:
    """The file over the defaults; SettingsError, in a sentence, for one that cannot be taken."""
    if file is None:
        return DEFAULT_POLICIES
    try:
        return parse_policies(tomllib.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        problem = f"cannot be read: {error.strerror}."
    except (ValueError, RecursionError) as error:  # of the encoding, the syntax, or a number
        problem = f"is not TOML: {error}."
    except InvalidInput as error:
        problem = f"cannot be taken: {error.message}"
    raise SettingsError(f"RETRY_POLICY_FILE: {file} {problem}")
