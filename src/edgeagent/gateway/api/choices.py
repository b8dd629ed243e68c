"""What of the leaderboard a page shows, as its address says it.  Pure.

A page is for people: what makes no sense in an address is passed over, and what is usual stands in none.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

import attrs

from edgeagent.gateway.leaderboard import PAGE_ROWS, Column, Query

#: Longest text that is searched for, in characters.
MAX_SEARCH = 100


@attrs.frozen(kw_only=True)
class Choice:
    """What somebody chose: column and direction, words to find, a page (from 1), and whether it refreshes itself."""

    query: Query = attrs.field(factory=Query)
    page: int = 1
    refresh: bool = True

    @classmethod
    def parse(cls, given: Mapping[str, str]) -> Choice:
        """Read a choice off an address' parameters."""
        column = Column(given["sort"]) if given.get("sort") in set(Column) else Column.JOBS
        direction = given.get("dir")
        ascending = direction == "asc" if direction in {"asc", "desc"} else column.ascends
        page = given.get("page", "")
        return cls(
            query=Query(column=column, ascending=ascending, search=given.get("q", "").strip()[:MAX_SEARCH]),
            page=max(1, int(page)) if page.isascii() and page.isdigit() and len(page) < 8 else 1,
            refresh=given.get("refresh") != "off",
        )

    @property
    def address(self) -> str:
        """The path and parameters that stand for this choice."""
        query, said = self.query, {}
        if query.column is not Column.JOBS:
            said["sort"] = query.column.value
        if query.ascending is not query.column.ascends:
            said["dir"] = "asc" if query.ascending else "desc"
        if query.search:
            said["q"] = query.search
        if self.page > 1:
            said["page"] = str(self.page)
        if not self.refresh:
            said["refresh"] = "off"
        return f"/?{urlencode(said)}" if said else "/"

    def sorted_by(self, column: Column) -> Choice:
        """Return the choice behind a column's head: that column, or the other way round where it is the present one."""
        now = self.query
        ascending = not now.ascending if column is now.column else column.ascends
        return attrs.evolve(self, query=attrs.evolve(now, column=column, ascending=ascending), page=1)

    def without_search(self) -> Choice:
        """Return the same choice among all nodes."""
        return attrs.evolve(self, query=attrs.evolve(self.query, search=""), page=1)

    def toggled(self) -> Choice:
        """Return the same choice with or without refreshing."""
        return attrs.evolve(self, refresh=not self.refresh)

    def at_page(self, page: int) -> Choice:
        """Return the same choice at another page."""
        return attrs.evolve(self, page=page)

    def cut(self, found: int) -> tuple[Choice, int]:
        """Return the choice with a page that there is, and how many there are, of so many nodes."""
        pages = max(1, -(-found // PAGE_ROWS))
        return self.at_page(min(self.page, pages)), pages
