"""Configuration as plain mappings, before validation: merging of files, and entries that copy others (`like`)."""

from typing import Any

from cof.errors import UsageError

# Groups of named entries. In these groups, null removes an entry; everywhere else null is a value.
_ENTRIES = ("registrations", "models", "tables")


def overlaid(raw: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Return a mapping with the keys of another merged over it, group by group."""
    nested = {key: overlaid(raw[key], value) for key, value in more.items() if _groups(raw.get(key), value)}
    return raw | more | nested


def without_removed(raw: dict[str, Any]) -> dict[str, Any]:
    """Return a mapping without the models, registrations, tables and table rows that are null.

    A removed model is also removed from the tables, their `repeats` and `intervals.models`.
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
    """Return the entries by name; an entry with `like: NAME` is merged over a copy of the entry that it names.

    Raises:
        UsageError: `like` names no entry, or entries name each other in a circle.
    """
    if not isinstance(entries, dict):
        return entries  # validation reports the error

    def resolve(name: str, above: tuple[str, ...]) -> Any:
        entry = entries[name]
        base = entry.get("like") if isinstance(entry, dict) else None
        if base is None:
            return entry
        if base not in entries or base in (*above, name):
            raise UsageError(
                f"{where}.{name}.like: "
                + ("a circle of entries that name each other" if base in entries else f"no entry is called '{base}'")
            )
        changes = {key: value for key, value in entry.items() if key != "like"}
        return overlaid(resolve(base, (*above, name)), changes)

    return {name: resolve(name, ()) for name in entries}


def _without_rows(table: Any, gone: set[str]) -> Any:
    """Return a table without the rows that are null and without those of removed models."""
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
    """Return the entries that are not null; anything but a mapping is returned as it is, and validation refuses it."""
    if not isinstance(entries, dict):
        return entries
    return {name: entry for name, entry in entries.items() if entry is not None}


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _groups(one: Any, other: Any) -> bool:
    return isinstance(one, dict) and isinstance(other, dict)
