"""The node behind the local door, in memory: spaces, documents and tabs, no peers.

Documents are plain pycrdt replicas; an update is "durable" one turn of the event loop after
it was submitted. Tests of the door steer it: `hold_commits`, `role`, `fail_with`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pycrdt

from sheaf.core.base.errors import NotAllowed, NotFound, SheafError, UpdateRefused, UsageError
from sheaf.core.base.ids import DeviceId, DocId, OpId, SpaceId, UserId
from sheaf.core.protocol.presence import TAB_MESSAGE_BYTES_MAX, Presence
from sheaf.core.space.roles import Role
from sheaf.node.delivery_state import (
    DeliveryState,
    DeviceDelivery,
    DocumentDelivery,
    Incomplete,
    PersonDelivery,
    RelayDelivery,
)
from sheaf.node.events import EventBus
from sheaf.node.network_view import NetworkView
from sheaf.node.views import (
    UNSET,
    CloseCode,
    CodeState,
    CodeView,
    ContentFormat,
    DocType,
    DocumentSubscriber,
    DocumentView,
    InvitationView,
    JoinState,
    JoinView,
    LanView,
    MemberDeviceView,
    MemberView,
    PeerSpaceView,
    PeerState,
    PeerView,
    ProfileView,
    SpaceSummary,
    StatusView,
    StorageView,
    Unset,
)
from sheaf.ports import RelayStatus
from tests.support.surroundings import surroundings

TICKET = "sheaf1" + "a" * 180
CODE = "7-orbit-velvet"
BAD_TICKET = "sheaf1bad"


class FakeHandle:
    """One tab's hold on a fake document."""

    def __init__(self, document: FakeDocument, subscriber: DocumentSubscriber, role: Role) -> None:
        self.document = document
        self.subscriber = subscriber
        self.can_write = role.can_write
        self.submitted = 0
        self.committed = 0

    def state_vector(self) -> bytes:
        return self.document.doc.get_state()

    def diff(self, state_vector: bytes) -> bytes:
        try:
            return self.document.doc.get_update(state_vector)
        except ValueError as error:
            raise UpdateRefused("the state vector is malformed") from error

    async def submit(self, update: bytes, *, is_state: bool = False) -> None:
        if self.document.fail_with is not None:
            raise self.document.fail_with
        try:
            self.document.doc.apply_update(update)
        except ValueError as error:
            raise UpdateRefused("the update is malformed") from error
        self.submitted += 1
        for other in tuple(self.document.handles):
            if other is not self:
                other.subscriber.update(update)
        self.document.commit_soon(self._commit)

    def _commit(self) -> None:
        self.committed += 1
        if self in self.document.handles:
            self.subscriber.committed(self.committed, self.state_vector())

    def awareness(self, data: bytes) -> None:
        self.document.spread(self.document.presence.apply(self, data, 0.0, bytes_max=TAB_MESSAGE_BYTES_MAX))

    def awareness_states(self) -> bytes | None:
        return self.document.presence.states()

    async def close(self) -> None:
        if self in self.document.handles:
            self.document.handles.remove(self)
            self.document.spread(self.document.presence.leave(self, 0.0))


class FakeDocument:
    """A document with its tabs."""

    def __init__(self, view: DocumentView) -> None:
        self.view = view
        self.doc: pycrdt.Doc[Any] = pycrdt.Doc()
        self.text = self.doc.get("text", type=pycrdt.Text)
        self.presence = Presence()
        self.handles: list[FakeHandle] = []
        self.fail_with: SheafError | None = None
        self.hold_commits = False
        self.held: list[Callable[[], None]] = []

    def commit_soon(self, commit: Callable[[], None]) -> None:
        if self.hold_commits:
            self.held.append(commit)
        else:
            asyncio.get_running_loop().call_soon(commit)

    def spread(self, data: bytes | None) -> None:
        if data is not None:
            for handle in tuple(self.handles):
                handle.subscriber.awareness(data)

    def let_go(self, code: CloseCode, reason: str) -> None:
        handles, self.handles = self.handles, []
        for handle in handles:
            handle.subscriber.closed(code, reason)

    def push(self, update: bytes) -> None:
        for handle in tuple(self.handles):
            handle.subscriber.update(update)

    def set_text(self, text: str) -> None:
        before = self.doc.get_state()
        with self.doc.transaction():
            self.text.clear()
            self.text.insert(0, text)
        self.push(self.doc.get_update(before))


GRACE = PersonDelivery(
    UserId(b"\3" * 32),
    "Grace",
    DeliveryState.SEEN,
    (
        DeviceDelivery(DeviceId(b"\2" * 32), "desk", DeliveryState.SEEN, 1_767_225_500_000, 0),
        DeviceDelivery(DeviceId(b"\4" * 32), "phone", DeliveryState.ON_RELAY, None, 2),
    ),
)
"""Whom a document of the fake node has reached."""


class FakeNode:
    """`api.facade.NodeFacade`."""

    def __init__(self) -> None:
        self.events = EventBus()
        self.role = Role.OWNER
        self.relays: tuple[RelayStatus, ...] = ()
        self.held_changes = 0
        self.storage_view = StorageView("ok", None, 0)
        self.now_ms = 1_767_225_600_000
        self._profile = ProfileView(UserId(bytes(32)), "Ada", DeviceId(b"\1" * 32), "laptop")
        self._spaces: dict[SpaceId, SpaceSummary] = {}
        self._documents: dict[DocId, FakeDocument] = {}
        self._invitations: dict[SpaceId, dict[OpId, InvitationView]] = {}
        self.joins: dict[str, JoinView] = {}
        self.asked_ticket: str | None = None
        self.asked_relay: str | None = None
        self.agents: list[str | None] = []
        self.seen: list[DocId] = []
        self.surroundings = surroundings()

    # ------------------------------------------------------------------ daemon

    def profile(self) -> ProfileView:
        return self._profile

    async def update_profile(
        self, *, user_name: str | None = None, device_name: str | None = None, share_seen: bool | None = None
    ) -> ProfileView:
        old = self._profile
        self._profile = replace(
            old,
            user_name=user_name or old.user_name,
            device_name=device_name or old.device_name,
            share_seen=old.share_seen if share_seen is None else share_seen,
        )
        self.events.publish("profile_changed")
        return self._profile

    def status(self) -> StatusView:
        return StatusView(
            version="0.1.0",
            started_ms=self.now_ms,
            data_dir="/data",
            profile=self._profile,
            lan=LanView("0.0.0.0:51234", "on", ("192.168.1.4:51234",)),
            storage=self.storage(),
            spaces=tuple(self.spaces()),
            peers=tuple(self.peers()),
            relays=self.relays,
            held_changes=self.held_changes,
        )

    def storage(self) -> StorageView:
        return self.storage_view

    def network(self) -> NetworkView:
        return self.surroundings

    def metrics(self) -> dict[str, float]:
        return {"spaces": len(self._spaces), "envelopes_ingested_total": 7}

    def peers(self) -> Sequence[PeerView]:
        spaces = tuple(PeerSpaceView(space_id, 2, 100, 400) for space_id in self._spaces)
        return [
            PeerView(
                DeviceId(b"\2" * 32),
                UserId(b"\3" * 32),
                "Grace",
                "desk",
                PeerState.LIVE,
                "webrtc",
                "192.168.1.5",
                1.25,
                spaces,
                None,
            )
        ]

    # ------------------------------------------------------------------ spaces

    def spaces(self) -> Sequence[SpaceSummary]:
        return [self.space(space_id) for space_id in self._spaces]

    def space(self, space_id: SpaceId) -> SpaceSummary:
        if space_id not in self._spaces:
            raise NotFound("This space is not on this device.")
        count = sum(document.view.space_id == space_id for document in self._documents.values())
        return replace(self._spaces[space_id], role=self.role, document_count=count)

    async def create_space(self, name: str) -> SpaceSummary:
        space_id = SpaceId(os.urandom(32))
        self._spaces[space_id] = SpaceSummary(space_id, name, self.role, 1, 0, "ready")
        self._invitations[space_id] = {}
        self.events.publish("spaces_changed")
        return self._spaces[space_id]

    async def rename_space(self, space_id: SpaceId, name: str) -> SpaceSummary:
        self._spaces[space_id] = replace(self.space(space_id), name=name)
        return self._spaces[space_id]

    async def set_relays(self, space_id: SpaceId, urls: Sequence[str]) -> SpaceSummary:
        self._spaces[space_id] = replace(self.space(space_id), relay_urls=tuple(urls))
        return self._spaces[space_id]

    async def leave_space(self, space_id: SpaceId) -> None:
        self.space(space_id)
        del self._spaces[space_id]
        for doc_id in [d for d, document in self._documents.items() if document.view.space_id == space_id]:
            self._documents.pop(doc_id).let_go(CloseCode.GONE, "the space was left")

    def members(self, space_id: SpaceId) -> Sequence[MemberView]:
        self.space(space_id)
        device = MemberDeviceView(self._profile.device_id, self._profile.device_name, True, True)
        return [MemberView(self._profile.user_id, self._profile.user_name, self.role, True, (device,))]

    # ------------------------------------------------------------------ documents

    def fake_document(self, doc_id: DocId) -> FakeDocument:
        if doc_id not in self._documents:
            raise NotFound("This document is not on this device.")
        return self._documents[doc_id]

    def documents(self, space_id: SpaceId) -> Sequence[DocumentView]:
        self.space(space_id)
        return [d.view for d in self._documents.values() if d.view.space_id == space_id]

    def document(self, doc_id: DocId) -> DocumentView:
        return self.fake_document(doc_id).view

    async def create_document(
        self, space_id: SpaceId, *, title: str, type: DocType, parent_id: DocId | None
    ) -> DocumentView:
        self.space(space_id)
        self._require_write()
        view = DocumentView(
            DocId(os.urandom(16)), space_id, title, type, parent_id, "a0", False, self.now_ms, self.now_ms
        )
        self._documents[view.document_id] = FakeDocument(view)
        self.events.publish("documents_changed", space_id=space_id.text)
        return view

    async def update_document(
        self,
        doc_id: DocId,
        *,
        title: str | Unset = UNSET,
        parent_id: DocId | Unset | None = UNSET,
        after_id: DocId | Unset | None = UNSET,
        trashed: bool | Unset = UNSET,
    ) -> DocumentView:
        document = self.fake_document(doc_id)
        self._require_write()
        view = document.view
        if title is not UNSET:
            view = replace(view, title=title)
        if parent_id is not UNSET:
            view = replace(view, parent_id=parent_id)
        if after_id is not UNSET:
            view = replace(view, order="Zz" if after_id is None else "b0")
        if trashed is not UNSET:
            view = replace(view, trashed=trashed)
        document.view = view
        return view

    async def read_content(self, doc_id: DocId, format: ContentFormat) -> bytes:
        document = self.fake_document(doc_id)
        return document.doc.get_update() if format is ContentFormat.YJS else str(document.text).encode()

    async def write_content(
        self, doc_id: DocId, format: ContentFormat, data: bytes, *, agent: str | None
    ) -> None:
        self._require_write()
        if format is ContentFormat.JSON:
            raise UsageError("JSON can be read but not written.")
        self.agents.append(agent)
        self.fake_document(doc_id).set_text(data.decode())

    async def append_content(self, doc_id: DocId, text: str, *, agent: str | None) -> None:
        self._require_write()
        document = self.fake_document(doc_id)
        document.set_text(str(document.text) + text)

    async def delivery(self, doc_id: DocId) -> DocumentDelivery:
        return DocumentDelivery(
            document_id=doc_id,
            space_id=self.document(doc_id).space_id,
            saved=True,
            relays=(RelayDelivery("wss://relay.example", "stored", None),),
            people=(GRACE,),
            incomplete=Incomplete(3, "Ann's laptop"),
        )

    async def mark_seen(self, doc_id: DocId) -> None:
        self.document(doc_id)
        self.seen.append(doc_id)

    async def open_document(self, doc_id: DocId, subscriber: DocumentSubscriber) -> FakeHandle:
        document = self.fake_document(doc_id)
        handle = FakeHandle(document, subscriber, self.role)
        document.handles.append(handle)
        return handle

    def _require_write(self) -> None:
        if not self.role.can_write:
            raise NotAllowed("You may read this space but not change it.")

    # ------------------------------------------------------------------ invitations

    async def create_invitation(
        self,
        space_id: SpaceId,
        *,
        role: Role,
        expires_in_s: int | None,
        max_uses: int,
        by_code: bool = False,
    ) -> InvitationView:
        self.space(space_id)
        expires_ms = self.now_ms + expires_in_s * 1000 if expires_in_s is not None else None
        code = (
            CodeView(CODE, "wss://relay.example", CodeState.WAITING, self.now_ms + 600_000)
            if by_code
            else None
        )
        view = InvitationView(OpId(os.urandom(32)), TICKET, role, expires_ms, max_uses, False, code)
        self._invitations[space_id][view.op_id] = view
        return view

    def invitations(self, space_id: SpaceId) -> Sequence[InvitationView]:
        self.space(space_id)
        return list(self._invitations[space_id].values())

    def invitation(self, space_id: SpaceId, op_id: OpId) -> InvitationView:
        if op_id not in self._invitations[space_id]:
            raise NotFound("There is no such invitation.")
        return self._invitations[space_id][op_id]

    def set_invitation(self, space_id: SpaceId, view: InvitationView) -> None:
        """Something became of it."""
        self._invitations[space_id][view.op_id] = view

    async def revoke_invitation(self, space_id: SpaceId, op_id: OpId) -> None:
        self.space(space_id)
        view = self.invitation(space_id, op_id)
        self._invitations[space_id][op_id] = replace(view, is_revoked=True)

    async def join(self, ticket: str, relay: str | None = None) -> JoinView:
        self.asked_ticket, self.asked_relay = ticket, relay
        if ticket == BAD_TICKET:
            raise UsageError("This is not a whole ticket.")
        join_id = f"j{len(self.joins)}"
        view = JoinView(join_id, SpaceId(bytes(32)), None, JoinState.SEARCHING, 0, 0, None)
        self.joins[join_id] = view
        return view

    def join_status(self, join_id: str) -> JoinView:
        if join_id not in self.joins:
            raise NotFound("There is no such join.")
        return self.joins[join_id]

    async def cancel_join(self, join_id: str) -> None:
        self.join_status(join_id)
        del self.joins[join_id]
