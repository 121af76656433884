"""Who is asking, and what the server has granted them."""

import msgspec

from tawny.domain.tasks import Origin

READ, WRITE, APPROVALS, ADMIN, PAIRING = "read", "write", "approvals", "admin", "pairing"
SCOPES = frozenset({READ, WRITE, APPROVALS, ADMIN, PAIRING})
OWNER = "owner"
GUEST = "guest"


class Principal(msgspec.Struct, frozen=True):
    """A holder of a credential. `role` is owner (the person) or guest (a program with a named token)."""

    credential_id: str
    name: str
    role: str
    scopes: frozenset[str]
    kind: str = "owner"
    by_cookie: bool = False
    granted_by: str | None = None

    @property
    def is_owner(self) -> bool:
        return self.role == OWNER

    @property
    def actor(self) -> str:
        """The immutable name the audit trail and the approvals have for them."""
        if self.kind == "owner":
            return "owner"
        return f"{'token' if self.kind == 'token' else 'device'}:{self.credential_id}"

    def origin(self, via: str) -> Origin:
        """Where work they hand in comes from: the owner's own hand, or a program that was let in."""
        if self.is_owner:
            return Origin(by="owner", via=via)
        return Origin(by="contact", via=via, detail={"credential": self.credential_id, "name": self.name})
