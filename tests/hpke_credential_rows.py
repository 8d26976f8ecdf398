"""Credentials and checkpoints in the HPKE format of the deprecated setting CREDENTIALS_KEY."""

import base64
import json
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from app.db.core.database import Database
from app.db.repositories.checkpoints import save_checkpoint
from app.db.repositories.credentials import set_credentials
from app.domain.credentials import EncryptedData
from app.domain.ids import AccountId, DestinationId, WorkspaceId
from app.services.hpke_credentials import HpkeKeys
from app.services.secret_cipher import checkpoint_row_name, credential_row_name
from tests.credential_rows import PLATFORM, VALUES
from tests.factories import NOW

HPKE_KEY = "private_mKuPyKkUNhrGKMqo1DOGUrzcnFCB-SkajQ_IRz_-Z3s"
HPKE_KEY_ID = "0c9fbdd5d68d7f88"
OTHER_HPKE_KEY = "private_Y3JlZGVudGlhbHMga2V5IG9mIHRlc3RzIG9ubHkhISE"

HPKE_CREDENTIALS_ROW_NAME = "credential:11111111-2222-4333-8444-555555555555:7:bluesky"
HPKE_CREDENTIALS = EncryptedData(
    HPKE_KEY_ID,
    bytes.fromhex(
        "928992d642e7d1c76d749b653cbb8d68cfa75d8a10f9d77a1f058c918342572e291d45eefc51f68238699e6966712ead7102"
        "15e3b04168b9e711e7085d1d3d3a5ec84df2bda3fdc96ed0bef57d2ae93e6127610d42910bd4506f87458db043e733d58d43"
        "04255e1f2c433b7b0f9099"
    ),
)
"""Written by an earlier version: `{"appPassword":"abcd-efgh-ijkl-mnop","identifier":"alice.test"}`."""

HPKE_CHECKPOINT_ROW_NAME = (
    "checkpoint:11111111-2222-4333-8444-555555555555:aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"
)
HPKE_CHECKPOINT = EncryptedData(
    HPKE_KEY_ID,
    bytes.fromhex(
        "ba2270a576be6ad1f1699dff39c0dbbd500f368f75a70e058a0cb1c3f72bdf5add4d806a4de33e4f22bf6394667f99f15698"
        "0c97cd865c9b800c9097fcbdedc26a5f4c5d6e"
    ),
)
"""Written by an earlier version: `{"container":"17889"}`."""

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


async def add_hpke_credentials(
    database: Database,
    workspace: WorkspaceId,
    account: AccountId,
    values: Mapping[str, object] = VALUES,
    *,
    platform: str = PLATFORM,
    key: str = HPKE_KEY,
) -> None:
    data = encrypt_by_hpke(values, credential_row_name(workspace, account, platform), key)
    await database.write(
        workspace,
        lambda session: set_credentials(session, account, data, NOW, is_verified=True),
    )


async def add_hpke_checkpoint(
    database: Database,
    workspace: WorkspaceId,
    destination: DestinationId,
    value: Mapping[str, object],
) -> None:
    data = encrypt_by_hpke(value, checkpoint_row_name(workspace, destination))
    await database.write(
        workspace, lambda session: save_checkpoint(session, destination, data, NOW)
    )


def encrypt_by_hpke(
    value: Mapping[str, object], row_name: str, key: str = HPKE_KEY
) -> EncryptedData:
    encoded = base64.urlsafe_b64decode(key.removeprefix("private_") + "=")
    public_key = X25519PrivateKey.from_private_bytes(encoded).public_key()
    (key_id,) = HpkeKeys([key]).ids
    info = f"post-results:{row_name}".encode()
    return EncryptedData(key_id, _SUITE.encrypt(json.dumps(value).encode(), public_key, info))
