"""Two notebooks that together ask for more than there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from live import CellError, Server, serving, until

ASK = 'import aios_lab as aios; aios.request(workers={workers}, memory="500MB"{more}); client = aios.client()'


@pytest.fixture
def server(tmp_path: Path):
    with serving(tmp_path, config="c.AIOSLab.inventory = {'cpus': 4, 'memory': '8GB'}\n") as running:
        yield running


def test_they_share_the_machine_and_the_second_grows_when_the_first_stops(server: Server):
    first, second = server.kernel("first.ipynb"), server.kernel("second.ipynb")
    assert (first.slice()["workers"], first.slice()["dormant"]) == (0, True)

    first.run(ASK.format(workers=4, more=""))
    until("the first has the whole machine", lambda: first.slice()["workers"] == 4)

    second.run(ASK.format(workers=4, more=""))
    until("they share it", lambda: (first.slice()["workers"], second.slice()["workers"]) == (2, 2), 30)
    reason = second.slice()["reason"]
    assert "first.ipynb" in reason, reason
    assert "first.ipynb" in second.run("%aios why")

    server.fetch("DELETE", f"api/kernels/{first.id}")
    until("the second grows without a click", lambda: second.slice()["workers"] == 4, 30)
    assert second.slice()["reason"] == ""
    assert second.run("print(len(client.scheduler_info()['workers']) >= 1)").strip() == "True"


def test_projects_share_by_weight(tmp_path: Path):
    quotas = tmp_path / "quotas.yaml"
    quotas.write_text("projects:\n  vision: {weight: 300}\n  speech: {weight: 100}\n")
    config = f"c.AIOSLab.inventory = {{'cpus': 4, 'memory': '8GB'}}\nc.AIOSLab.quotas = {str(quotas)!r}\n"
    with serving(tmp_path, config=config) as server:
        heavy, light = server.kernel("heavy.ipynb"), server.kernel("light.ipynb")
        light.run(ASK.format(workers=4, more=', project="speech"'))
        heavy.run(ASK.format(workers=4, more=', project="vision"'))
        until("3 : 1", lambda: (heavy.slice()["workers"], light.slice()["workers"]) == (3, 1), 30)


def test_who_loses_everything_reads_for_whom_and_has_another_turn(tmp_path: Path):
    quotas = tmp_path / "quotas.yaml"
    quotas.write_text("fair_share: {guard: 0}\nprojects: {vision: {}, speech: {}}\n")
    config = f"c.AIOSLab.inventory = {{'cpus': 2, 'memory': '8GB'}}\nc.AIOSLab.quotas = {str(quotas)!r}\n"
    with serving(tmp_path, config=config) as server:
        kept, lost, other = (server.kernel(f"{name}.ipynb") for name in ("kept", "lost", "other"))
        for kernel in (kept, lost):
            kernel.run(ASK.format(workers=1, more=', project="vision"'))
        other.run(ASK.format(workers=1, more=', project="speech"'))
        until("one gives way", lambda: (lost.slice()["workers"], other.slice()["workers"]) == (0, 1), 30)
        assert kept.slice()["workers"] == 1
        assert "other.ipynb" in lost.slice()["problem"], lost.slice()
        assert "was taken for" in lost.run("%aios why")
        lost.run("future = client.submit(sum, [1, 2])")
        server.fetch("DELETE", f"api/kernels/{other.id}")
        until("it has its turn", lambda: lost.slice()["workers"] == 1, 30)
        assert lost.slice()["problem"] == ""
        assert lost.run("print(future.result())").strip() == "3", "its client outlived the loss"


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("workers=1000", ["1000", "4"]),
        ('workers=1, memory="900GB"', ["900", "8"]),
        ("workers=-1", ["-1"]),
        ('workers="many"', ["many"]),
        ('memory="lots"', ["lots", "2GB"]),
        ("gpus=1", ["GPU", "none"]),
        ('project="nobody"', ["nobody", "default"]),
    ],
)
def test_a_bad_request_says_what_was_asked_and_what_is_possible(server: Server, asked: str, words: list[str]):
    kernel = server.kernel()
    with pytest.raises(CellError) as failure:
        kernel.run(f"import aios_lab as aios; aios.request({asked})")
    text = str(failure.value)
    assert "AIOSError" in text
    for word in words:
        assert word.lower() in text.lower(), text
    assert "Traceback" not in text or "aios_lab/" not in text, "the user's error shows our insides"
    assert kernel.slice()["workers"] == 0
