"""The people of a space as the local door shows them. Pure."""

from __future__ import annotations

from collections.abc import Collection

from sheaf.core.base.ids import DeviceId, UserId
from sheaf.core.space.membership import Membership
from sheaf.node.views import MemberDeviceView, MemberView


def member_views(
    membership: Membership, *, me: UserId, own: DeviceId, online: Collection[DeviceId]
) -> list[MemberView]:
    """Everybody, me first, then by name."""
    views = [
        MemberView(
            user_id=member.user_id,
            name=member.name,
            role=member.role,
            is_self=member.user_id == me,
            devices=tuple(
                MemberDeviceView(
                    device_id=device.device,
                    name=device.name,
                    is_self=device.device == own,
                    is_online=device.device == own or device.device in online,
                )
                for device in member.devices
            ),
        )
        for member in membership.members.values()
    ]
    return sorted(views, key=lambda view: (not view.is_self, view.name.casefold(), view.user_id))
