"""The guard of tests/conftest.py is itself tested: each kind of swallowed error fails its test."""

from __future__ import annotations

from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"

SETTINGS = """
[tool.pytest.ini_options]
asyncio_mode = "auto"
asyncio_default_fixture_loop_scope = "function"
filterwarnings = ["error"]
"""

SUITE = """
import asyncio, gc, threading

def _fail():
    raise RuntimeError("lost")

async def _fail_later():
    raise RuntimeError("lost")

class Broken:
    def __del__(self):
        raise RuntimeError("lost")

async def test_in_a_task():
    task = asyncio.get_running_loop().create_task(_fail_later())
    await asyncio.sleep(0)
    del task
    gc.collect()

async def test_in_a_callback():
    asyncio.get_running_loop().call_soon(_fail)
    await asyncio.sleep(0)

def test_in_a_thread():
    thread = threading.Thread(target=_fail)
    thread.start()
    thread.join()

def test_in_a_finalizer():
    Broken()

def test_never_awaited():
    _fail_later()

def test_quiet():
    pass
"""


def test_every_swallowed_error_fails_its_test(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(CONFTEST.read_text(encoding="utf-8"))
    pytester.makepyprojecttoml(SETTINGS)
    pytester.makepyfile(SUITE)

    # One process for all of them: starting pytest costs two seconds.
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-rA", "--tb=no")

    # A failure after the test's own body counts as an error of the same test.
    bad = {line.split("::test_")[1].split(" ")[0] for line in result.outlines if line.startswith(("FAILED", "ERROR"))}
    assert bad == {"in_a_task", "in_a_callback", "in_a_thread", "in_a_finalizer", "never_awaited"}
