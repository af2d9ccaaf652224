"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, object, object]:
    """With REQUIRE_ALL_TESTS set, a skipped test is a failure: the machine lacks a program that it should have."""
    report = yield
    if os.environ.get("REQUIRE_ALL_TESTS") and isinstance(report, pytest.TestReport) and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped although REQUIRE_ALL_TESTS is set: {report.longrepr}"
    return report
