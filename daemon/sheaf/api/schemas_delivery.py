"""The JSON shapes of delivery: who has a document, and where else it waits (webui/openapi.json)."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from sheaf.node.delivery_state import (
    DeliveryState,
    DeviceDelivery,
    DocumentDelivery,
    Incomplete,
    PersonDelivery,
    SpaceDelivery,
)


class DeliveryDevice(BaseModel):
    """One device; `missing` counts changes it has not confirmed to hold."""

    device_id: str
    name: str
    state: DeliveryState
    at_ms: int | None
    missing: int

    @classmethod
    def of(cls, view: DeviceDelivery) -> DeliveryDevice:
        """From the node's view."""
        return cls(
            device_id=view.device_id.text,
            name=view.name,
            state=view.state,
            at_ms=view.at_ms,
            missing=view.missing,
        )


class DeliveryPerson(BaseModel):
    """One person, as far as the best of their devices; of oneself, the other devices."""

    user_id: str
    name: str
    state: DeliveryState
    devices: list[DeliveryDevice]

    @classmethod
    def of(cls, view: PersonDelivery) -> DeliveryPerson:
        """From the node's view."""
        return cls(
            user_id=view.user_id.text,
            name=view.name,
            state=view.state,
            devices=[DeliveryDevice.of(device) for device in view.devices],
        )


class DeliveryRelay(BaseModel):
    """One relay: `stored`, `waiting`, `unreachable`, `full` or `lost`; `detail` is a sentence for people."""

    url: str
    state: str
    detail: str | None


class DeliveryIncomplete(BaseModel):
    """Changes that another device holds and that have not arrived here."""

    model_config = ConfigDict(serialize_by_alias=True)

    missing: int
    source: str = Field(alias="from")
    """The device that said it has them: "Ann's laptop"."""

    @classmethod
    def of(cls, view: Incomplete | None) -> DeliveryIncomplete | None:
        """From the node's view."""
        if view is None:
            return None
        return cls.model_validate({"missing": view.missing, "from": view.source})


class Delivery(BaseModel):
    """Where a document is."""

    document_id: str
    space_id: str
    saved: bool
    relays: list[DeliveryRelay]
    people: list[DeliveryPerson]
    incomplete: DeliveryIncomplete | None

    @classmethod
    def of(cls, view: DocumentDelivery) -> Delivery:
        """From the node's view."""
        return cls(
            document_id=view.document_id.text,
            space_id=view.space_id.text,
            saved=view.saved,
            relays=[DeliveryRelay(url=r.url, state=r.state, detail=r.detail) for r in view.relays],
            people=[DeliveryPerson.of(person) for person in view.people],
            incomplete=DeliveryIncomplete.of(view.incomplete),
        )


class DeliveryOfSpace(BaseModel):
    """A space at one glance: `saved_here`, `on_relay`, `delivered` or `seen`."""

    state: str
    waiting_people: int
    incomplete_missing: int
    relay_warning: str | None

    @classmethod
    def of(cls, view: SpaceDelivery) -> DeliveryOfSpace:
        """From the node's view."""
        return cls(
            state=view.state,
            waiting_people=view.waiting_people,
            incomplete_missing=view.incomplete_missing,
            relay_warning=view.relay_warning,
        )
