"""What the local door needs of the node, as a protocol.

The node implements it, tests may fake it. Methods speak the types of `node.views`; they
raise `NotFound`, `NotAllowed`, `UsageError`, `ProtocolViolation` and `StorageFailure`,
which `problems` turns into answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sheaf.core.base.ids import DocId, OpId, SpaceId
from sheaf.core.space.roles import Role
from sheaf.node.events import EventBus
from sheaf.node.views import (
    UNSET,
    ContentFormat,
    DocType,
    DocumentHandle,
    DocumentSubscriber,
    DocumentView,
    InvitationView,
    JoinView,
    MemberView,
    NodeMetrics,
    PeerView,
    ProfileView,
    SpaceSummary,
    StatusView,
    Unset,
)


class NodeFacade(Protocol):
    """The node as the local door sees it."""

    @property
    def events(self) -> EventBus: ...

    def profile(self) -> ProfileView: ...
    async def update_profile(
        self, *, user_name: str | None = None, device_name: str | None = None
    ) -> ProfileView: ...
    def status(self) -> StatusView: ...
    def metrics(self) -> NodeMetrics: ...

    def spaces(self) -> Sequence[SpaceSummary]: ...
    def space(self, space_id: SpaceId) -> SpaceSummary: ...
    async def create_space(self, name: str) -> SpaceSummary: ...
    async def rename_space(self, space_id: SpaceId, name: str) -> SpaceSummary: ...
    async def leave_space(self, space_id: SpaceId) -> None: ...
    def members(self, space_id: SpaceId) -> Sequence[MemberView]: ...
    def peers(self) -> Sequence[PeerView]: ...

    def documents(self, space_id: SpaceId) -> Sequence[DocumentView]: ...
    def document(self, doc_id: DocId) -> DocumentView: ...
    async def create_document(
        self, space_id: SpaceId, *, title: str, type: DocType, parent_id: DocId | None
    ) -> DocumentView: ...
    async def update_document(
        self,
        doc_id: DocId,
        *,
        title: str | Unset = UNSET,
        parent_id: DocId | Unset | None = UNSET,
        after_id: DocId | Unset | None = UNSET,
        trashed: bool | Unset = UNSET,
    ) -> DocumentView: ...
    async def read_content(self, doc_id: DocId, format: ContentFormat) -> bytes: ...
    async def write_content(
        self, doc_id: DocId, format: ContentFormat, data: bytes, *, agent: str | None
    ) -> None: ...
    async def append_content(self, doc_id: DocId, text: str, *, agent: str | None) -> None: ...
    async def open_document(self, doc_id: DocId, subscriber: DocumentSubscriber) -> DocumentHandle: ...

    async def create_invitation(
        self,
        space_id: SpaceId,
        *,
        role: Role,
        expires_in_s: int | None,
        max_uses: int,
        by_code: bool = False,
    ) -> InvitationView: ...
    def invitations(self, space_id: SpaceId) -> Sequence[InvitationView]: ...
    def invitation(self, space_id: SpaceId, op_id: OpId) -> InvitationView: ...
    async def revoke_invitation(self, space_id: SpaceId, op_id: OpId) -> None: ...
    async def join(self, ticket: str, relay: str | None = None) -> JoinView: ...
    def join_status(self, join_id: str) -> JoinView: ...
    async def cancel_join(self, join_id: str) -> None: ...
