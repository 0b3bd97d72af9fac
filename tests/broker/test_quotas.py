"""The quota file: what it says, and how it is told where it is wrong."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from aios_lab.allocation import UNLIMITED, Placement, Plan, Principal, Resources
from aios_lab.broker import Quotas, Refused
from aios_lab.broker.claims import make_claim
from aios_lab.broker.quotas import QuotaError, parse, principal_path
from aios_lab.broker.slices import Owner, Slice
from aios_lab.broker.snapshot import plan_record, recorded_snapshot, take_snapshot
from aios_lab.engines.local.inventory import declared
from aios_lab.wire import ClaimRequest

INVENTORY = declared({"cpus": 4, "memory": "8GB"})

TEXT = """\
cluster: {limit: {gpus: 4}}
projects:
  vision:
    weight: 200
    quota: {gpus: 2, memory: 8GiB}
    priority: 1
    users:
      "*": {limit: {gpus: 1}}
      ada: {weight: 300}
"""


def test_without_a_file_all_users_weigh_the_same(tmp_path: Path) -> None:
    for quotas in (Quotas(), Quotas(tmp_path / "none.yaml")):
        assert quotas.projects == ("default",)
        assert quotas.project(None) == "default"
        assert quotas.principals([("default", "ada")]) == (
            Principal("cluster"),
            Principal("cluster/default"),
            Principal("cluster/default/ada"),
        )


def test_the_file_makes_the_tree(tmp_path: Path) -> None:
    path = tmp_path / "quotas.yaml"
    path.write_text(TEXT)
    quotas = Quotas(path)
    found = {p.path: p for p in quotas.principals([("vision", "ada"), ("vision", "bob")])}
    assert found["cluster"].limit == Resources(UNLIMITED, UNLIMITED, 4000, UNLIMITED)
    vision = found["cluster/vision"]
    assert (vision.weight, vision.priority, vision.quota) == (200, 1, Resources(memory=8192, gpu=2000))
    assert found["cluster/vision/ada"] == Principal("cluster/vision/ada", weight=300)
    limit = found["cluster/vision/bob"].limit
    assert limit is not None
    assert limit.gpu == 1000
    with pytest.raises(Refused, match="'text'") as refused:
        quotas.project("text")
    assert refused.value.hint == "Ask for one of: default, vision."


def test_a_project_with_members_is_theirs(tmp_path: Path) -> None:
    path = tmp_path / "quotas.yaml"
    path.write_text("projects:\n  vision: {members: [ada, bob]}\n  text: {members: [ada]}\n")
    quotas = Quotas(path)
    assert quotas.project("vision", "ada") == quotas.project("vision", "bob") == "vision"
    assert quotas.project("text", None) == "text"
    with pytest.raises(Refused, match="bob is no member of project text") as refused:
        quotas.project("text", "bob")
    assert (refused.value.status, refused.value.reason) == (403, "not_a_member")
    assert refused.value.hint == "Ask for one of: default, vision."
    path.write_text("projects:\n  default: {members: [ada]}\n  text: {members: [ada, eve]}\n")
    quotas.reload()
    assert [quotas.project(None, user) for user in (None, "ada", "eve")] == ["default", "default", "text"]
    with pytest.raises(Refused, match="no member of project default") as refused:
        quotas.project(None, "bob")
    assert "ask to be added" in refused.value.hint
    with pytest.raises(Refused, match="no member"):
        make_claim(ClaimRequest(project="text"), None, "bob", INVENTORY, quotas)
    assert make_claim(ClaimRequest(), None, "eve", INVENTORY, quotas).project == "text"
    assert make_claim(ClaimRequest(project="text"), None, "", INVENTORY, quotas).project == "text"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("projects:\n  a:\n    weight: heavy\n", "line 3: weight should be a whole number from 0"),
        ("projects:\n  a:\n    wieght: 1\n", "line 3: project a has no 'wieght'; it may have: weight, quota"),
        ("projects:\n  a: {x: 1}\n", "it may have: weight, quota, limit, priority, users, members."),
        ("projects:\n  a: {quota: {memory: 2XB}}\n", "line 2: quota: '2XB' is no amount of memory"),
        ("projects:\n  a: {limit: {cpus: -1}}\n", "line 2: limit: -1 is no number of CPU threads"),
        ("projects:\n  a: {limit: {cpus: .nan}}\n", "line 2: limit: nan is no number of CPU threads"),
        ("projects:\n  a: {members: ada}\n", "line 2: members of project a should be a list of user names"),
        ("projects:\n  a: {members: [ada, {}]}\n", "line 2: members of project a should be a list"),
        ("projects:\n  a:\n    members:\n", "line 3: members of project a should be a list"),
        ("projects:\n  a: 3\n", "line 2: project a should be a mapping"),
        ("projects: [a]\n", "line 1: projects should be a mapping"),
        ("projects:\n  a: {}\n  a: {}\n", "line 3: projects has 'a' twice"),
        ("projects: {\n", "line 2: "),
        ('projects:\n  a: {quota: {memory: "@2GB"}}\n', "line 2: quota: '@2GB' is no amount of memory"),
        ('projects:\n  a: {quota: {cpus: "{{{"}}\n', "line 2: quota: '{{{' is no number of CPU threads"),
        ('projects:\n  a: {quota: {cpus: "2020-13-45"}}\n', "line 2: quota: '2020-13-45' is no number"),
        ("projects:\n  a: {weight: 1\x07}\n", "line 2: it has a character that YAML forbids"),
        ("- 1\n", "line 1: the file should be a mapping"),
        ("projects:\n  a: {weight: x}\n  b: {weight: y}\n", "line 3: weight"),
    ],
)
def test_mistakes_have_line_numbers(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "quotas.yaml"
    path.write_text(text)
    with pytest.raises(Refused) as refused:
        Quotas(path)
    assert refused.value.reason == "bad_quotas"
    assert says in refused.value.message


def test_a_file_is_read_again_and_a_wrong_one_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "quotas.yaml"
    quotas = Quotas(path)
    path.write_text("projects: {vision: {}}")
    assert quotas.reload()
    assert not quotas.reload()
    assert quotas.projects == ("default", "vision")
    path.write_text("projects: {text: 1}")
    os.utime(path, (5, 5))
    assert not quotas.reload()
    assert quotas.projects == ("default", "vision")
    assert quotas.problem is not None
    assert "line 1" in quotas.problem.message
    path.unlink()
    assert quotas.reload()
    assert quotas.problem is None
    assert quotas.projects == ("default",)


def test_placement_is_chosen_beside_the_policy() -> None:
    tree = parse("policy: utility:linear\nplacement: fgd\n")
    assert (tree.policy, tree.placement) == ("utility:linear", "fgd")
    assert parse("").placement == "first"
    with pytest.raises(
        QuotaError, match="line 2: placement: 'tight' is none; there are: first, pack, spread, fgd"
    ):
        parse("policy: fcfs\nplacement: tight\n")


def test_what_claims_ask_for_is_what_fragments_are_measured_by(tmp_path: Path) -> None:
    """Recorded with the decision, so that it is decided alike again."""
    path = tmp_path / "quotas.yaml"
    path.write_text("placement: fgd\n")
    quotas = Quotas(path)
    claim = make_claim(
        ClaimRequest(workers=2, gpus=0.5), None, "ada", declared({"cpus": 4, "gpus": 2}), quotas
    )
    one = Slice(
        "s-1", Owner(user="ada", kernel_id="k", name="a.ipynb"), claim, created=1.0, since=1.0, wanted=True
    )
    snapshot = take_snapshot(INVENTORY, quotas, [one], 2.0)
    assert snapshot.placement == Placement("fgd", ((claim.unit, 2),))
    record = json.loads(json.dumps(plan_record(snapshot, "fair_share", Plan())))
    assert recorded_snapshot(record) == snapshot
    del record["snapshot"]["placement"]
    assert recorded_snapshot(record).placement == Placement("first")


def test_names_with_slashes_stay_one_step() -> None:
    assert principal_path("default", "a/b") == "cluster/default/a%2Fb"
    assert parse("").projects == {}
