"""The list of the statements that run in all workspaces, with their reasons."""

import pkgutil
from importlib import import_module

import app.db
from app.db.core.statements import AllWorkspacesStatement
from tests.tenancy_removals import unrestricted_statements


def test_each_statement_of_all_workspaces_is_listed_with_its_reason() -> None:
    listed = dict(line.split(": ", 1) for line in unrestricted_statements())
    stored = {
        f"{module.name}.{name}": value.reason
        for module in pkgutil.walk_packages(app.db.__path__, "app.db.")
        if "migrations." not in module.name
        for name, value in vars(import_module(module.name)).items()
        if isinstance(value, AllWorkspacesStatement)
    }
    assert len(stored) > 30
    assert stored.items() <= listed.items()
    for name in listed.keys() - stored:  # functions that build statements
        module_name, _, function = name.rpartition(".")
        assert callable(getattr(import_module(module_name), function)), name
    assert "" not in listed.values()
