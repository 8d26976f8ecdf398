"""Names of operations on which the sentence or the webhook of a change depends.

Events store them, so they must not change.
"""

# Mutations of the API
UPDATE_POST = "updatePost"
RELEASE_CLAIM = "releaseClaim"
CLAIM_DESTINATIONS = "claimDestinations"
CLAIM_VERIFICATIONS = "claimVerifications"
REPORT_VERIFIED = "reportVerified"

# Starts of the names of mutations that do the same to one object or to many
CANCEL = "cancel"
DELETE = "delete"
RETRY = "retry"
RECONCILE = "reconcile"

# Operations of the server and of its operator
IMPORT = "import"
LOSE_LEASE = "loseLease"
"""Settlement of a lease that has expired."""
FAIL_WITHOUT_ACCESS = "failWithoutAccess"
"""Failure of due posts on accounts that cannot publish."""
FAIL_WITHOUT_SERVER = "failWithoutServer"
"""Failure of posts that have waited too long for a server that does not answer."""
CHECK_CONTENTS = "checkContents"
"""Check of waiting posts after a change of the content schemas."""
