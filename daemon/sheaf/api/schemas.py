"""The JSON shapes of the API: pydantic models filled from the node's views.

Field names are the contract with the web editor and scripts (webui/openapi.json); ids are their text
forms, times ISO-8601 in UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from sheaf.api.schemas_delivery import DeliveryOfSpace
from sheaf.core.space.roles import Role
from sheaf.core.wire.ticket import RELAYS_MAX
from sheaf.node.views import (
    DocType,
    DocumentView,
    MemberView,
    PeerState,
    PeerView,
    ProfileView,
    SpaceSummary,
    StatusView,
)
from sheaf.ports import RelayState, RelayStatus

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Title = Annotated[str, StringConstraints(strip_whitespace=True, max_length=500)]
RelayUrlText = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=400)]
IdText = Annotated[str, StringConstraints(max_length=100)]


def iso(ms: int) -> str:
    """Milliseconds since 1970 as ISO-8601 UTC; out-of-range clocks become the nearest end."""
    seconds = min(max(ms / 1000, 0.0), 253_402_300_799.0)
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class RequestBody(BaseModel):
    """What all requests share: a field that is not known is an error."""

    model_config = ConfigDict(extra="forbid")


# --------------------------------------------------------------------------- requests


class SessionIn(RequestBody):
    """The one-time token from a launch link."""

    token: Annotated[str, StringConstraints(min_length=1, max_length=200)]


class ProfileIn(RequestBody):
    """New names; a field left out stays."""

    user_name: Name | None = None
    device_name: Name | None = None
    share_seen: bool | None = None


class SpaceIn(RequestBody):
    """A space's name."""

    name: Name


class SpacePatch(RequestBody):
    """Changes to a space; a field left out stays. An empty list of relays means none."""

    name: Name | None = None
    relay_urls: Annotated[list[RelayUrlText], Field(max_length=RELAYS_MAX)] | None = None


class DocumentIn(RequestBody):
    """A new document."""

    title: Title = ""
    type: DocType = DocType.PAGE
    parent_id: IdText | None = None


class DocumentPatch(RequestBody):
    """Changes to a document; `after_id` null puts it first among its siblings."""

    title: Title | None = None
    parent_id: IdText | None = None
    after_id: IdText | None = None
    trashed: bool | None = None


# --------------------------------------------------------------------------- answers


class Profile(BaseModel):
    """The names this device shows to others."""

    user_name: str
    device_name: str
    share_seen: bool

    @classmethod
    def of(cls, view: ProfileView) -> Profile:
        """From the node's view."""
        return cls(user_name=view.user_name, device_name=view.device_name, share_seen=view.share_seen)


class Space(BaseModel):
    """A space this device takes part in."""

    space_id: str
    name: str
    role: Role
    member_count: int
    document_count: int
    state: str
    delivery: DeliveryOfSpace
    relay_urls: list[str]

    @classmethod
    def of(cls, view: SpaceSummary) -> Space:
        """From the node's view."""
        return cls(
            space_id=view.space_id.text,
            name=view.name,
            role=view.role,
            member_count=view.member_count,
            document_count=view.document_count,
            state=view.state,
            delivery=DeliveryOfSpace.of(view.delivery),
            relay_urls=list(view.relay_urls),
        )


class Spaces(BaseModel):
    """All spaces."""

    spaces: list[Space]


class Document(BaseModel):
    """A document's place and title; its content has its own address."""

    document_id: str
    space_id: str
    title: str
    type: DocType
    parent_id: str | None
    order: str
    trashed: bool
    created_at: str
    updated_at: str

    @classmethod
    def of(cls, view: DocumentView) -> Document:
        """From the node's view."""
        return cls(
            document_id=view.document_id.text,
            space_id=view.space_id.text,
            title=view.title,
            type=view.type,
            parent_id=view.parent_id.text if view.parent_id is not None else None,
            order=view.order,
            trashed=view.trashed,
            created_at=iso(view.created_ms),
            updated_at=iso(view.updated_ms),
        )


class Documents(BaseModel):
    """All documents of a space, trashed ones included; by `order` within each parent."""

    documents: list[Document]


class MemberDevice(BaseModel):
    """One device of a member."""

    device_id: str
    name: str
    is_self: bool
    online: bool


class Member(BaseModel):
    """One person in a space."""

    user_id: str
    name: str
    role: Role
    is_self: bool
    devices: list[MemberDevice]

    @classmethod
    def of(cls, view: MemberView) -> Member:
        """From the node's view."""
        devices = [
            MemberDevice(
                device_id=device.device_id.text,
                name=device.name,
                is_self=device.is_self,
                online=device.is_online,
            )
            for device in view.devices
        ]
        return cls(
            user_id=view.user_id.text,
            name=view.name,
            role=view.role,
            is_self=view.is_self,
            devices=devices,
        )


class Members(BaseModel):
    """Everybody in a space."""

    members: list[Member]


class PeerSpace(BaseModel):
    """What one peer has of one space; `behind` counts our envelopes it is not known to hold."""

    space_id: str
    behind: int
    done_bytes: int
    total_bytes: int


class Peer(BaseModel):
    """Another device."""

    device_id: str
    user_id: str
    user_name: str
    device_name: str
    state: PeerState
    path: str | None
    description: str | None
    rtt_ms: float | None
    spaces: list[PeerSpace]
    last_seen_at: str | None
    path_reason: str | None

    @classmethod
    def of(cls, view: PeerView) -> Peer:
        """From the node's view."""
        spaces = [
            PeerSpace(
                space_id=space.space_id.text,
                behind=space.behind,
                done_bytes=space.done_bytes,
                total_bytes=space.total_bytes,
            )
            for space in view.spaces
        ]
        return cls(
            device_id=view.device_id.text,
            user_id=view.user_id.text,
            user_name=view.user_name,
            device_name=view.device_name,
            state=view.state,
            path=view.path,
            description=view.description,
            rtt_ms=view.rtt_ms,
            spaces=spaces,
            last_seen_at=iso(view.last_seen_ms) if view.last_seen_ms is not None else None,
            path_reason=view.path_reason,
        )


class Peers(BaseModel):
    """Every other device this one knows."""

    peers: list[Peer]


class Lan(BaseModel):
    """How this daemon can be reached on the local network."""

    listening: str | None
    mdns: str
    addresses: list[str]


class Storage(BaseModel):
    """Whether edits reach the disk: `ok`; `low`, but there is little room; `read_only`, they do not, but
    reading goes on; `failed`, something cannot even be read."""

    state: str
    detail: str | None
    unsent_edits: int


class Relay(BaseModel):
    """A relay this daemon uses; `problem` says in a sentence why it is not connected."""

    url: str
    state: RelayState
    problem: str | None
    rtt_ms: float | None
    since_ms: int | None

    @classmethod
    def of(cls, view: RelayStatus) -> Relay:
        """From the relay's own."""
        rtt_ms = None if view.rtt_s is None else view.rtt_s * 1000
        return cls(
            url=view.url, state=view.state, problem=view.problem, rtt_ms=rtt_ms, since_ms=view.since_ms
        )


class Clone(BaseModel):
    """A device whose identity two computers use: a copied data folder. `what` says so, `do` what to do."""

    device_id: str
    is_self: bool
    noticed_at: str
    what: str
    do: str


class Status(BaseModel):
    """Everything about the daemon at one glance."""

    version: str
    started_at: str
    data_dir: str
    user_id: str
    user_name: str
    device_id: str
    device_name: str
    share_seen: bool
    port: int
    lan: Lan
    storage: Storage
    held_changes: int
    spaces: list[Space]
    peers: list[Peer]
    relays: list[Relay]
    clones: list[Clone]

    @classmethod
    def of(cls, view: StatusView, *, port: int) -> Status:
        """From the node's view and the door's own port."""
        return cls(
            version=view.version,
            started_at=iso(view.started_ms),
            data_dir=view.data_dir,
            user_id=view.profile.user_id.text,
            user_name=view.profile.user_name,
            device_id=view.profile.device_id.text,
            device_name=view.profile.device_name,
            share_seen=view.profile.share_seen,
            port=port,
            lan=Lan(listening=view.lan.listening, mdns=view.lan.mdns, addresses=list(view.lan.addresses)),
            storage=Storage(
                state=view.storage.state, detail=view.storage.detail, unsent_edits=view.storage.unsent_edits
            ),
            held_changes=view.held_changes,
            spaces=[Space.of(space) for space in view.spaces],
            peers=[Peer.of(peer) for peer in view.peers],
            relays=[Relay.of(relay) for relay in view.relays],
            clones=[
                Clone(
                    device_id=clone.device_id.text,
                    is_self=clone.is_self,
                    noticed_at=iso(clone.noticed_ms),
                    what=clone.what,
                    do=clone.do,
                )
                for clone in view.clones
            ],
        )


class LaunchLink(BaseModel):
    """A link that signs one browser in, once, within five minutes."""

    link: str


class Token(BaseModel):
    """A bearer token for scripts."""

    token: str
