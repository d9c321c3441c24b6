"""Configuration as plain mappings, before it is validated: files laid over each other, and entries made of others."""

from typing import Any

from cof.errors import UsageError

# Groups of named entries. In an overlay, null in the place of an entry removes it; elsewhere null is a value.
_ENTRIES = ("registrations", "models", "tables")


def overlaid(raw: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """A mapping with the keys of another laid over it, group by group."""
    nested = {key: overlaid(raw[key], value) for key, value in more.items() if _groups(raw.get(key), value)}
    return raw | more | nested


def without_removed(raw: dict[str, Any]) -> dict[str, Any]:
    """A mapping without the models, registrations, tables and rows of tables that are null.

    A removed model leaves the tables, their `repeats` and `intervals.models`, too.
    """
    gone = {name for name, entry in _mapping(raw.get("models")).items() if entry is None}
    kept = raw | {group: _present(raw[group]) for group in _ENTRIES if group in raw}
    if isinstance(kept.get("tables"), dict):
        kept["tables"] = {name: _without_rows(table, gone) for name, table in kept["tables"].items()}
    calibrated = _mapping(kept.get("intervals")).get("models")
    if gone and isinstance(calibrated, list):
        kept["intervals"] = kept["intervals"] | {"models": [name for name in calibrated if name not in gone]}
    return kept


def resolved(entries: Any, where: str) -> Any:
    """Entries by name, those with `like: NAME` laid over the entry that they name.

    Raises:
        UsageError: `like` names no entry, or entries that name each other.
    """
    if not isinstance(entries, dict):
        return entries  # validation says what is wrong

    def resolve(name: str, above: tuple[str, ...]) -> Any:
        entry = entries[name]
        base = entry.get("like") if isinstance(entry, dict) else None
        if base is None:
            return entry
        if base not in entries or base in (*above, name):
            raise UsageError(
                f"{where}.{name}.like: " + ("a circle" if base in entries else f"no entry is called '{base}'")
            )
        changes = {key: value for key, value in entry.items() if key != "like"}
        return overlaid(resolve(base, (*above, name)), changes)

    return {name: resolve(name, ()) for name in entries}


def _without_rows(table: Any, gone: set[str]) -> Any:
    """A table without the rows that are null, and without those of removed models."""
    if not isinstance(table, dict):
        return table
    rows = _mapping(table.get("models"))
    absent = gone | {name for name, title in rows.items() if title is None}
    kept = dict(table)
    if isinstance(table.get("models"), dict):
        kept["models"] = {name: title for name, title in rows.items() if name not in absent}
    if isinstance(table.get("repeats"), dict):
        kept["repeats"] = {
            name: [other for other in others if other not in absent] if isinstance(others, list) else others
            for name, others in table["repeats"].items()
            if name not in absent
        }
    return kept


def _present(entries: Any) -> Any:
    """The entries that are not null; what is no mapping stays as it is, for validation to refuse."""
    if not isinstance(entries, dict):
        return entries
    return {name: entry for name, entry in entries.items() if entry is not None}


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _groups(one: Any, other: Any) -> bool:
    return isinstance(one, dict) and isinstance(other, dict)
