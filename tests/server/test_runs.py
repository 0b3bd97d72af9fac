"""A run and the hold it has on its slice begin together, or neither does."""

from __future__ import annotations

import asyncio
import sqlite3

RUN = {"name": "digits", "strategy": "ddp", "world_size": 1}


async def test_a_run_that_cannot_hold_its_slice_does_not_begin(api):
    _, slice_id = await api.kernel()
    other = sqlite3.connect(api.app.folder / "ledger.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    refused = await api("POST", "aios/api/runs", RUN, token=api.token(slice_id))
    other.execute("ROLLBACK")
    other.close()
    assert refused.body["reason"] == "ledger_unavailable"
    assert (await api("GET", "aios/api/runs")).body == []


async def test_a_slice_is_let_go_by_a_run_that_does_not_begin(api):
    _, slice_id = await api.kernel()
    runs = api.app.runs_dir
    runs.rename(runs.with_name("moved"))
    runs.write_text("a file is in the way")
    refused = await api("POST", "aios/api/runs", RUN, token=api.token(slice_id))
    assert refused.body["reason"] == "runs_folder"
    assert not (await api("GET", f"aios/api/slices/{slice_id}")).body["busy"]


async def test_a_run_that_nobody_leads_lets_its_slice_go(api):
    _, slice_id = await api.kernel()
    api.app.services.runs.silence = 1.0
    ended = asyncio.Event()
    api.app.services.runs.subscribe(lambda _run, changed: changed and ended.set())
    run = (await api("POST", "aios/api/runs", RUN, token=api.token(slice_id))).body
    assert (await api("GET", f"aios/api/slices/{slice_id}")).body["busy"]
    ended.clear()
    await asyncio.wait_for(ended.wait(), 10)
    assert (await api("GET", f"aios/api/runs/{run['id']}")).body["state"] == "failed"
    assert not (await api("GET", f"aios/api/slices/{slice_id}")).body["busy"]
