"""The quota file: who is guaranteed what, and how the rest is shared.

```yaml
policy: fair_share                # or an order of a queue, alone or with a backfill: fcfs, sjf+easy, …
fair_share: {half_life: 7d, k: 1} # how past usage counts, and more: see ``sharing``
placement: first                  # on which node workers go: first, pack, spread, fgd
cluster: {limit: {gpus: 4}}
projects:
  default: {}                     # always there
  vision:
    weight: 200                   # twice the share of a project with 100
    # guaranteed: all that the workers take, for a GPU's worker takes threads and memory as well
    quota: {cpus: 8, memory: 64GB, gpus: 2, gpu_memory: 48GB}
    limit: {cpus: 32, memory: 64GiB}
    priority: 1
    members: [ada, bob]           # nobody else may ask in its name; left out: open to all
    users:
      "*": {limit: {gpus: 1}}     # every user of the project who is not named
      ada: {weight: 300}
```

Without a file there is one project, "default", in which all users weigh the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

from aios_lab.allocation import (
    DEFAULT_POLICY,
    DEFAULT_SHARING,
    POLICIES,
    UNLIMITED,
    Principal,
    Resources,
    Sharing,
)
from aios_lab.allocation.placement import DEFAULT_PLACEMENT, RULES
from aios_lab.broker.errors import Refused
from aios_lab.broker.sharing import FIELDS, read_sharing
from aios_lab.broker.sizes import MIB, memory_bytes, thousandths

CLUSTER = "cluster"
DEFAULT_PROJECT = "default"
ANY_USER = "*"


class QuotaError(ValueError):
    """The quota file is wrong; the message has a line number for every mistake."""


@dataclass(frozen=True, slots=True)
class Project:
    principal: Principal
    users: Mapping[str, Principal] = field(default_factory=dict)
    members: frozenset[str] | None = None

    def open_to(self, user: str | None) -> bool:
        """Whether the user may ask in the project's name; None stands for the server itself."""
        return self.members is None or user is None or user in self.members


@dataclass(frozen=True, slots=True)
class Tree:
    cluster: Principal = field(default_factory=lambda: Principal(CLUSTER))
    projects: Mapping[str, Project] = field(default_factory=dict)
    policy: str = DEFAULT_POLICY
    sharing: Sharing = DEFAULT_SHARING
    placement: str = DEFAULT_PLACEMENT


UNREADABLE = (-1, -1)


class Quotas:
    """The principals of the quota file, read again when it changes.

    A file that becomes wrong while the server runs changes nothing: the last good one counts, and ``problem``
    says what is wrong.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        """
        Raises:
            Refused: 422 'bad_quotas' when the file is wrong, naming its lines.
        """
        self.path = Path(path) if path is not None else None
        self.problem: Refused | None = None
        self._tree = _with_default(Tree())
        self._seen: tuple[int, int] | None = None
        self.reload()
        if self.problem is not None:
            raise self.problem

    def reload(self) -> bool:
        """Read the file if it changed since; whether other quotas count now."""
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        self._seen = stamp
        try:
            tree = parse(self.path.read_text("utf-8")) if self.path and stamp else Tree()
        except (QuotaError, OSError, UnicodeDecodeError) as error:
            self.problem = Refused(
                422,
                f"The quota file {self.path} is wrong: {error}",
                "bad_quotas",
                "Mend these lines; a running server reads the file again as soon as it is saved.",
            )
            return False
        self.problem = None
        self._tree = _with_default(tree)
        return True

    @property
    def policy(self) -> str:
        """By which rule claims are served now: one of ``allocation.POLICIES``."""
        return self._tree.policy

    @property
    def sharing(self) -> Sharing:
        """The parameters of the policy fair_share."""
        return self._tree.sharing

    @property
    def half_life(self) -> int | None:
        """Seconds after which past use counts half; None where it does not count."""
        sharing = self.sharing
        counts = self.policy == DEFAULT_POLICY and (sharing.k or sharing.order == "fair_tree")
        return sharing.half_life or None if counts else None

    @property
    def placement(self) -> str:
        """On which node workers go: one of ``allocation.placement.RULES``."""
        return self._tree.placement

    @property
    def projects(self) -> tuple[str, ...]:
        return tuple(sorted(self._tree.projects))

    def project(self, name: str | None, user: str | None = None) -> str:
        """The project that a user means. When none is named it is 'default', or the first that is open to the
        user where 'default' is not.

        Raises:
            Refused: 422 'unknown_project'; 403 'not_a_member'.
        """
        mine = [one for one in self.projects if self._tree.projects[one].open_to(user)]
        if name is None:
            name = DEFAULT_PROJECT if DEFAULT_PROJECT in mine else next(iter(mine), DEFAULT_PROJECT)
        hint = (
            f"Ask for one of: {', '.join(mine)}."
            if mine
            else "No project is open to you: ask to be added to one."
        )
        if name not in self._tree.projects:
            raise Refused(422, f"There is no project {name!r}.", "unknown_project", hint)
        if name not in mine:
            raise Refused(403, f"{user} is no member of project {name}.", "not_a_member", hint)
        return name

    def principals(self, members: Iterable[tuple[str, str]]) -> tuple[Principal, ...]:
        """The tree for these (project, user) pairs, sorted by path."""
        found = {self._tree.cluster.path: self._tree.cluster}
        for project in self._tree.projects.values():
            found[project.principal.path] = project.principal
        for name, user in members:
            path = principal_path(name, user)
            known = self._tree.projects.get(name)
            principal = known and (known.users.get(user) or known.users.get(ANY_USER))
            found[path] = replace(principal, path=path) if principal else Principal(path)
        return tuple(found[path] for path in sorted(found))

    def _stamp(self) -> tuple[int, int] | None:
        if self.path is None:
            return None
        try:
            stat = self.path.stat()
        except FileNotFoundError:
            return None
        except OSError:  # reading it says why
            return UNREADABLE
        return stat.st_mtime_ns, stat.st_size


def principal_path(project: str, user: str) -> str:
    """The path of a user in a project; a slash in a name is written as %2F."""
    return "/".join((CLUSTER, *(part.replace("/", "%2F") for part in (project, user))))


def parse(text: str) -> Tree:
    """
    Raises:
        QuotaError: with a line number for every mistake.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise QuotaError(f"line {line}: {error.problem or 'this is not YAML'}.") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise QuotaError(f"line {line}: it has a character that YAML forbids.") from error
    reader = _Reader()
    tree = reader.tree(root) if root is not None else Tree()
    if reader.mistakes:
        raise QuotaError(" ".join(f"line {line}: {text}" for line, text in sorted(reader.mistakes)))
    return tree


class _Reader:
    """Walks the YAML nodes, which know their lines; collects mistakes rather than stop at the first."""

    def __init__(self) -> None:
        self.mistakes: list[tuple[int, str]] = []

    def wrong(self, node: yaml.Node, text: str) -> None:
        self.mistakes.append((node.start_mark.line + 1, text))

    def tree(self, root: yaml.Node) -> Tree:
        known = ("policy", "fair_share", "placement", "cluster", "projects")
        parts = self.mapping(root, "the file", known)
        sharing = read_sharing(self.mapping(parts.get("fair_share"), "fair_share", FIELDS), self.wrong)
        policy = self.one_of(parts.get("policy"), "policy", POLICIES, DEFAULT_POLICY)
        placement = self.one_of(parts.get("placement"), "placement", RULES, DEFAULT_PLACEMENT)
        cluster = self.principal(parts["cluster"], CLUSTER) if "cluster" in parts else Principal(CLUSTER)
        projects = {}
        for name, node in self.mapping(parts.get("projects"), "projects").items():
            fields = self.mapping(node, f"project {name}", (*_FIELDS, "users", "members"))
            users = self.mapping(fields.pop("users", None), f"users of project {name}")
            members = (
                self.names(fields.pop("members"), f"members of project {name}")
                if "members" in fields
                else None
            )
            path = f"{CLUSTER}/{name.replace('/', '%2F')}"
            people = {user: self.principal(n, principal_path(name, user)) for user, n in users.items()}
            projects[name] = Project(self.fields(fields, path), people, members)
        return Tree(cluster, projects, policy, sharing, placement)

    def one_of(self, node: yaml.Node | None, what: str, names: Iterable[str], default: str) -> str:
        if node is None:
            return default
        if not isinstance(node, yaml.ScalarNode) or node.value not in names:
            said = repr(node.value) if isinstance(node, yaml.ScalarNode) else "this"
            self.wrong(node, f"{what}: {said} is none; there are: {', '.join(names)}.")
            return default
        return str(node.value)

    def mapping(
        self, node: yaml.Node | None, what: str, known: tuple[str, ...] | None = None
    ) -> dict[str, yaml.Node]:
        if node is None or (isinstance(node, yaml.ScalarNode) and node.value in ("", "null", "~")):
            return {}
        if not isinstance(node, yaml.MappingNode):
            self.wrong(node, f"{what} should be a mapping.")
            return {}
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or not key.value:
                self.wrong(key, f"{what} has a key that is no name.")
            elif known is not None and key.value not in known:
                self.wrong(key, f"{what} has no {key.value!r}; it may have: {', '.join(known)}.")
            elif key.value in found:
                self.wrong(key, f"{what} has {key.value!r} twice.")
            else:
                found[key.value] = value
        return found

    def names(self, node: yaml.Node, what: str) -> frozenset[str]:
        parts = node.value if isinstance(node, yaml.SequenceNode) else []
        found = [part.value for part in parts if isinstance(part, yaml.ScalarNode) and part.value]
        if not found or len(found) != len(parts):
            self.wrong(
                node, f"{what} should be a list of user names, as in [ada, bob]; leave it out for all."
            )
        return frozenset(found)

    def principal(self, node: yaml.Node, path: str) -> Principal:
        return self.fields(self.mapping(node, path, tuple(_FIELDS)), path)

    def fields(self, parts: Mapping[str, yaml.Node], path: str) -> Principal:
        found = Principal(path)
        for name, node in parts.items():
            match name:
                case "weight":
                    found = replace(found, weight=self.whole(node, name, 0))
                case "priority":
                    found = replace(found, priority=self.whole(node, name, -1000))
                case "quota":
                    found = replace(found, quota=self.amounts(node, name, 0))
                case "limit":
                    found = replace(found, limit=self.amounts(node, name, UNLIMITED))
        return found

    def whole(self, node: yaml.Node, what: str, least: int) -> int:
        try:
            value = int(node.value) if isinstance(node, yaml.ScalarNode) else least - 1
        except ValueError:
            value = least - 1
        if not least <= value <= 1_000_000:
            self.wrong(node, f"{what} should be a whole number from {least} to 1000000.")
            return 0
        return value

    def amounts(self, node: yaml.Node, what: str, rest: int) -> Resources:
        """Resources with ``rest`` for what is left out."""
        values = {}
        for name, part in self.mapping(node, what, tuple(_AMOUNTS)).items():
            field_name, read = _AMOUNTS[name]
            try:
                values[field_name] = read(_scalar(part))
            except Refused as refused:
                self.wrong(part, f"{what}: {refused.message} {refused.hint}")
        return replace(Resources(rest, rest, rest, rest), **values)


def _scalar(node: yaml.Node) -> object:
    """What a value without its tag means: what YAML cannot read stays text."""
    if not isinstance(node, yaml.ScalarNode):
        return node
    try:
        return yaml.safe_load(node.value)
    except (yaml.YAMLError, ValueError):
        return node.value


def _mebibytes(value: object) -> int:
    return 0 if value == 0 else memory_bytes(value) // MIB


_FIELDS = ("weight", "quota", "limit", "priority")
_AMOUNTS: Mapping[str, tuple[str, Callable[[object], int]]] = {
    "cpus": ("cpu", lambda value: thousandths(value, "number of CPU threads")),
    "memory": ("memory", _mebibytes),
    "gpus": ("gpu", lambda value: thousandths(value, "number of GPUs")),
    "gpu_memory": ("gpu_memory", _mebibytes),
}


def _with_default(tree: Tree) -> Tree:
    if DEFAULT_PROJECT in tree.projects:
        return tree
    default = Project(Principal(f"{CLUSTER}/{DEFAULT_PROJECT}"))
    return replace(tree, projects={DEFAULT_PROJECT: default, **tree.projects})
