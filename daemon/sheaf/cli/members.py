"""`sheaf members SPACE`: who is in a space."""

from __future__ import annotations

import typer

from sheaf.cli.options import AsJson, DataDir, Session, SpaceArgument
from sheaf.cli.tables import print_table


def members(
    ctx: typer.Context, space: SpaceArgument, data_dir: DataDir = None, as_json: AsJson = False
) -> None:
    """Show the people in a space, their roles and devices."""
    from sheaf.cli.resolve import find_space

    session = Session(ctx, data_dir, as_json)
    found = find_space(session.client, space)
    people = session.client.get(f"/spaces/{found['space_id']}/members")["members"]
    rows = (
        (
            person["user_id"],
            person["name"] + (" (you)" if person["is_self"] else ""),
            person["role"],
            ", ".join(device["name"] + (" ●" if device["online"] else "") for device in person["devices"]),
        )
        for person in people
    )
    session.show(
        people,
        lambda: print_table(
            ("ID", "NAME", "ROLE", "DEVICES (● ONLINE)"), rows, empty="Nobody is in this space."
        ),
    )
