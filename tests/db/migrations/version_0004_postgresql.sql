-- Schema of a database at version 0004 on PostgreSQL.
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY
    (version_num));
CREATE TABLE deployment (id SMALLINT NOT NULL, secret_key BYTEA NOT NULL, created_at TIMESTAMP WITH TIME ZONE
    NOT NULL, CONSTRAINT pk_deployment PRIMARY KEY (id), CONSTRAINT ck_deployment_single_row CHECK (id = 1));
CREATE TABLE workspace (id UUID NOT NULL, name TEXT NOT NULL, kind VARCHAR(32) NOT NULL, mirror_of TEXT,
    event_seq BIGINT NOT NULL, next_account_id INTEGER NOT NULL, created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_workspace PRIMARY KEY (id), CONSTRAINT uq_workspace_name UNIQUE (name), CONSTRAINT
    ck_workspace_kind_word CHECK (kind IN ('local', 'mirror')), CONSTRAINT ck_workspace_mirror_of CHECK ((kind
    = 'mirror') = (mirror_of IS NOT NULL)), CONSTRAINT ck_workspace_event_seq CHECK (event_seq >= 0),
    CONSTRAINT ck_workspace_next_account_id CHECK (next_account_id >= 1));
CREATE TABLE api_key (workspace_id UUID NOT NULL, id UUID NOT NULL, digest BYTEA NOT NULL, shown_prefix TEXT
    NOT NULL, name TEXT NOT NULL, scopes JSON NOT NULL, created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE, revoked_at TIMESTAMP WITH TIME ZONE, last_used_at TIMESTAMP WITH TIME
    ZONE, CONSTRAINT pk_api_key PRIMARY KEY (workspace_id, id), CONSTRAINT fk_api_key_workspace_id FOREIGN
    KEY(workspace_id) REFERENCES workspace (id), CONSTRAINT uq_api_key_digest UNIQUE (digest));
CREATE TABLE account (workspace_id UUID NOT NULL, id INTEGER NOT NULL, platform TEXT NOT NULL, account_name
    TEXT, display_name TEXT, platform_user_id TEXT, platform_username TEXT, avatar_url TEXT, is_active BOOLEAN
    NOT NULL, needs_reconnection_since TIMESTAMP WITH TIME ZONE, token_expires_at TIMESTAMP WITH TIME ZONE,
    token_refreshed_at TIMESTAMP WITH TIME ZONE, connected_at TIMESTAMP WITH TIME ZONE NOT NULL, created_at
    TIMESTAMP WITH TIME ZONE NOT NULL, updated_at TIMESTAMP WITH TIME ZONE NOT NULL, CONSTRAINT pk_account
    PRIMARY KEY (workspace_id, id), CONSTRAINT fk_account_workspace_id FOREIGN KEY(workspace_id) REFERENCES
    workspace (id), CONSTRAINT ck_account_id CHECK (id >= 1));
CREATE TABLE post (workspace_id UUID NOT NULL, id UUID NOT NULL, content TEXT NOT NULL, is_draft BOOLEAN NOT
    NULL, submitted_now BOOLEAN NOT NULL, scheduled_for TIMESTAMP WITH TIME ZONE, timezone TEXT, media_ids
    JSON NOT NULL, media JSON NOT NULL, platform_content JSON NOT NULL, reference TEXT, status VARCHAR(32) NOT
    NULL, published_at TIMESTAMP WITH TIME ZONE, version INTEGER NOT NULL, search_text TEXT NOT NULL,
    deleted_at TIMESTAMP WITH TIME ZONE, created_at TIMESTAMP WITH TIME ZONE NOT NULL, updated_at TIMESTAMP
    WITH TIME ZONE NOT NULL, CONSTRAINT pk_post PRIMARY KEY (workspace_id, id), CONSTRAINT
    fk_post_workspace_id FOREIGN KEY(workspace_id) REFERENCES workspace (id), CONSTRAINT ck_post_status_word
    CHECK (status IN ('draft', 'scheduled', 'publishing', 'published', 'partially_failed', 'failed')),
    CONSTRAINT ck_post_is_draft CHECK (status = 'draft' OR NOT is_draft), CONSTRAINT ck_post_version CHECK
    (version >= 1));
CREATE INDEX ix_post_created_at ON post (workspace_id, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX ix_post_published_at ON post (workspace_id, published_at, id) WHERE deleted_at IS NULL;
CREATE INDEX ix_post_reference ON post (workspace_id, reference, created_at, id) WHERE reference IS NOT NULL
    AND deleted_at IS NULL;
CREATE INDEX ix_post_scheduled_for ON post (workspace_id, scheduled_for, id) WHERE deleted_at IS NULL;
CREATE INDEX ix_post_status ON post (workspace_id, status, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX ix_post_updated_at ON post (workspace_id, updated_at, id) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX uq_post_kept ON post (workspace_id, id) WHERE deleted_at IS NULL;
CREATE TABLE destination (workspace_id UUID NOT NULL, id UUID NOT NULL, post_id UUID NOT NULL, account_id
    INTEGER NOT NULL, platform TEXT NOT NULL, position INTEGER NOT NULL, status VARCHAR(32) NOT NULL, outcome
    VARCHAR(32) NOT NULL, due_at TIMESTAMP WITH TIME ZONE, claimable_at TIMESTAMP WITH TIME ZONE, attempts
    INTEGER NOT NULL, round_attempts INTEGER NOT NULL, round_started_at TIMESTAMP WITH TIME ZONE,
    next_retry_at TIMESTAMP WITH TIME ZONE, fence INTEGER NOT NULL, lease_token UUID, lease_expires_at
    TIMESTAMP WITH TIME ZONE, started_at TIMESTAMP WITH TIME ZONE, published_at TIMESTAMP WITH TIME ZONE,
    platform_post_id TEXT, platform_post_url TEXT, error TEXT, error_category VARCHAR(32), error_code TEXT,
    settled_at TIMESTAMP WITH TIME ZONE, verifiable_at TIMESTAMP WITH TIME ZONE, verification_token UUID,
    due_day DATE, lateness_ms BIGINT, created_at TIMESTAMP WITH TIME ZONE NOT NULL, updated_at TIMESTAMP WITH
    TIME ZONE NOT NULL, CONSTRAINT pk_destination PRIMARY KEY (workspace_id, id), CONSTRAINT
    fk_destination_workspace_id FOREIGN KEY(workspace_id) REFERENCES workspace (id), CONSTRAINT
    fk_destination_workspace_id_post_id FOREIGN KEY(workspace_id, post_id) REFERENCES post (workspace_id, id),
    CONSTRAINT fk_destination_workspace_id_account_id FOREIGN KEY(workspace_id, account_id) REFERENCES account
    (workspace_id, id), CONSTRAINT uq_destination_workspace_id_post_id_account_id UNIQUE (workspace_id,
    post_id, account_id), CONSTRAINT ck_destination_status_word CHECK (status IN ('queued', 'publishing',
    'published', 'failed')), CONSTRAINT ck_destination_outcome_word CHECK (outcome IN ('none', 'published',
    'failed', 'unknown')), CONSTRAINT ck_destination_error_category_word CHECK (error_category IN
    ('transient', 'rate_limited', 'auth', 'content_rejected', 'permanent', 'unclassified')), CONSTRAINT
    ck_destination_position CHECK (position >= 0), CONSTRAINT ck_destination_outcome_published CHECK ((status
    = 'published') = (outcome = 'published')), CONSTRAINT ck_destination_outcome_failed CHECK ((status =
    'failed') = (outcome IN ('failed', 'unknown'))), CONSTRAINT ck_destination_published_at CHECK ((status =
    'published') = (published_at IS NOT NULL)), CONSTRAINT ck_destination_platform_post_id CHECK (status =
    'published' OR platform_post_id IS NULL), CONSTRAINT ck_destination_platform_post_url CHECK (status =
    'published' OR platform_post_url IS NULL), CONSTRAINT ck_destination_error_failed CHECK (status <>
    'failed' OR error IS NOT NULL), CONSTRAINT ck_destination_error_published CHECK (status <> 'published' OR
    error IS NULL), CONSTRAINT ck_destination_error_category CHECK ((error IS NULL) = (error_category IS
    NULL)), CONSTRAINT ck_destination_error_code CHECK ((error IS NULL) = (error_code IS NULL)), CONSTRAINT
    ck_destination_next_retry_at CHECK (next_retry_at IS NULL OR (status = 'queued' AND error IS NOT NULL)),
    CONSTRAINT ck_destination_round_started_at CHECK ((due_at IS NULL) = (round_started_at IS NULL)),
    CONSTRAINT ck_destination_attempts CHECK (0 <= round_attempts AND round_attempts <= attempts), CONSTRAINT
    ck_destination_fence CHECK (fence >= 0), CONSTRAINT ck_destination_lease CHECK ((lease_token IS NULL) =
    (lease_expires_at IS NULL)), CONSTRAINT ck_destination_lease_publishing CHECK (status = 'publishing' OR
    lease_token IS NULL), CONSTRAINT ck_destination_started_at CHECK (lease_token IS NOT NULL OR started_at IS
    NULL), CONSTRAINT ck_destination_claimable_at CHECK (CASE WHEN claimable_at IS NULL THEN status = 'queued'
    OR lease_token IS NULL OR started_at IS NOT NULL WHEN status = 'queued' THEN COALESCE(claimable_at =
    COALESCE(next_retry_at, due_at), 1 = 0) ELSE lease_token IS NOT NULL AND started_at IS NULL AND
    claimable_at = lease_expires_at END), CONSTRAINT ck_destination_settled_at CHECK ((outcome = 'none') =
    (settled_at IS NULL)), CONSTRAINT ck_destination_verifiable_at CHECK ((outcome = 'unknown') =
    (verifiable_at IS NOT NULL)), CONSTRAINT ck_destination_verification_token CHECK (outcome = 'unknown' OR
    verification_token IS NULL), CONSTRAINT ck_destination_due_day CHECK ((outcome = 'none') = (due_day IS
    NULL)), CONSTRAINT ck_destination_lateness_ms CHECK ((status = 'published') = (lateness_ms IS NOT NULL)));
CREATE INDEX ix_destination_workspace_id_account_id_created_at_id ON destination (workspace_id, account_id,
    created_at, id);
CREATE INDEX ix_destination_workspace_id_created_at_id ON destination (workspace_id, created_at, id);
CREATE INDEX ix_destination_workspace_id_due_at_id ON destination (workspace_id, due_at, id);
CREATE INDEX ix_destination_workspace_id_due_day_platform_status_lateness_ms ON destination (workspace_id,
    due_day, platform, status, lateness_ms);
CREATE INDEX ix_destination_workspace_id_platform_post_id ON destination (workspace_id, platform, post_id);
CREATE INDEX ix_destination_workspace_id_published_at_id ON destination (workspace_id, published_at, id);
CREATE INDEX ix_destination_workspace_id_status_created_at_id ON destination (workspace_id, status,
    created_at, id);
CREATE INDEX ix_destination_workspace_id_updated_at_id ON destination (workspace_id, updated_at, id);
CREATE INDEX ix_destination_account_failed ON destination (workspace_id, account_id, settled_at) WHERE
    error_category IS NOT NULL;
CREATE INDEX ix_destination_account_published ON destination (workspace_id, account_id, published_at) WHERE
    published_at IS NOT NULL;
CREATE INDEX ix_destination_account_unsettled ON destination (workspace_id, account_id, status) WHERE
    settled_at IS NULL;
CREATE INDEX ix_destination_claimable ON destination (workspace_id, claimable_at, id) WHERE claimable_at IS
    NOT NULL;
CREATE INDEX ix_destination_error_category ON destination (workspace_id, error_category, created_at, id) WHERE
    error_category IS NOT NULL;
CREATE INDEX ix_destination_error_code ON destination (workspace_id, error_code, created_at, id) WHERE
    error_code IS NOT NULL;
CREATE INDEX ix_destination_next_retry ON destination (workspace_id, next_retry_at, id) WHERE next_retry_at IS
    NOT NULL;
CREATE INDEX ix_destination_started ON destination (workspace_id, lease_expires_at, id) WHERE started_at IS
    NOT NULL;
CREATE INDEX ix_destination_verifiable ON destination (workspace_id, verifiable_at, id) WHERE verifiable_at IS
    NOT NULL;
CREATE TABLE attempt (workspace_id UUID NOT NULL, id UUID NOT NULL, destination_id UUID NOT NULL, kind
    VARCHAR(32) NOT NULL, number INTEGER, fence INTEGER, attempt_key TEXT, outcome VARCHAR(32) NOT NULL,
    category VARCHAR(32), code TEXT, message TEXT, http_status INTEGER, retry_after_ms BIGINT, raw TEXT,
    worker TEXT, started_at TIMESTAMP WITH TIME ZONE NOT NULL, finished_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_attempt PRIMARY KEY (workspace_id, id), CONSTRAINT fk_attempt_workspace_id_destination_id
    FOREIGN KEY(workspace_id, destination_id) REFERENCES destination (workspace_id, id), CONSTRAINT
    ck_attempt_kind_word CHECK (kind IN ('regular', 'late')), CONSTRAINT ck_attempt_outcome_word CHECK
    (outcome IN ('none', 'published', 'failed', 'unknown')), CONSTRAINT ck_attempt_category_word CHECK
    (category IN ('transient', 'rate_limited', 'auth', 'content_rejected', 'permanent', 'unclassified')),
    CONSTRAINT ck_attempt_finished_at CHECK ((outcome = 'none') = (finished_at IS NULL)), CONSTRAINT
    ck_attempt_message CHECK ((outcome IN ('failed', 'unknown')) = (message IS NOT NULL)), CONSTRAINT
    ck_attempt_category CHECK ((message IS NULL) = (category IS NULL)), CONSTRAINT ck_attempt_code CHECK
    ((message IS NULL) = (code IS NULL)));
CREATE INDEX ix_attempt_workspace_id_destination_id_started_at_id ON attempt (workspace_id, destination_id,
    started_at, id);
CREATE UNIQUE INDEX uq_attempt_fence ON attempt (workspace_id, destination_id, fence) WHERE kind = 'regular';
CREATE UNIQUE INDEX uq_attempt_key ON attempt (workspace_id, destination_id, attempt_key) WHERE kind =
    'regular' AND attempt_key IS NOT NULL;
CREATE TABLE publish_evidence (workspace_id UUID NOT NULL, destination_id UUID NOT NULL, fence INTEGER NOT
    NULL, counted BOOLEAN NOT NULL, platform_post_id TEXT, platform_post_url TEXT, published_at TIMESTAMP WITH
    TIME ZONE NOT NULL, reported_at TIMESTAMP WITH TIME ZONE NOT NULL, CONSTRAINT pk_publish_evidence PRIMARY
    KEY (workspace_id, destination_id, fence), CONSTRAINT fk_publish_evidence_workspace_id_destination_id
    FOREIGN KEY(workspace_id, destination_id) REFERENCES destination (workspace_id, id));
CREATE UNIQUE INDEX uq_publish_evidence_counted ON publish_evidence (workspace_id, destination_id) WHERE
    counted;
CREATE TABLE event (workspace_id UUID NOT NULL, seq BIGINT NOT NULL, kind TEXT NOT NULL, actor_key_id UUID,
    post_id UUID, destination_id UUID, account_id INTEGER, payload JSON NOT NULL, created_at TIMESTAMP WITH
    TIME ZONE NOT NULL, CONSTRAINT pk_event PRIMARY KEY (workspace_id, seq), CONSTRAINT fk_event_workspace_id
    FOREIGN KEY(workspace_id) REFERENCES workspace (id), CONSTRAINT fk_event_workspace_id_post_id FOREIGN
    KEY(workspace_id, post_id) REFERENCES post (workspace_id, id), CONSTRAINT
    fk_event_workspace_id_destination_id FOREIGN KEY(workspace_id, destination_id) REFERENCES destination
    (workspace_id, id), CONSTRAINT fk_event_workspace_id_account_id FOREIGN KEY(workspace_id, account_id)
    REFERENCES account (workspace_id, id), CONSTRAINT ck_event_seq CHECK (seq >= 1));
CREATE INDEX ix_event_workspace_id_post_id_seq ON event (workspace_id, post_id, seq);
CREATE TABLE idempotency_key (workspace_id UUID NOT NULL, api_key_id UUID NOT NULL, key TEXT NOT NULL,
    fingerprint BYTEA NOT NULL, outcome JSON NOT NULL, created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL, CONSTRAINT pk_idempotency_key PRIMARY KEY (workspace_id,
    api_key_id, key), CONSTRAINT fk_idempotency_key_workspace_id_api_key_id FOREIGN KEY(workspace_id,
    api_key_id) REFERENCES api_key (workspace_id, id));
CREATE INDEX ix_idempotency_key_expires_at ON idempotency_key (expires_at);
CREATE TABLE webhook (workspace_id UUID NOT NULL, id UUID NOT NULL, url TEXT NOT NULL, secret TEXT NOT NULL,
    events JSON NOT NULL, name TEXT, description TEXT, is_active BOOLEAN NOT NULL, fan_out_seq BIGINT NOT
    NULL, consecutive_failures INTEGER NOT NULL, auto_disabled_at TIMESTAMP WITH TIME ZONE, last_delivery_at
    TIMESTAMP WITH TIME ZONE, last_success_at TIMESTAMP WITH TIME ZONE, last_failure_at TIMESTAMP WITH TIME
    ZONE, deleted_at TIMESTAMP WITH TIME ZONE, created_at TIMESTAMP WITH TIME ZONE NOT NULL, updated_at
    TIMESTAMP WITH TIME ZONE NOT NULL, CONSTRAINT pk_webhook PRIMARY KEY (workspace_id, id), CONSTRAINT
    fk_webhook_workspace_id FOREIGN KEY(workspace_id) REFERENCES workspace (id), CONSTRAINT
    ck_webhook_consecutive_failures CHECK (consecutive_failures >= 0), CONSTRAINT ck_webhook_fan_out_seq CHECK
    (fan_out_seq >= 0));
CREATE TABLE webhook_delivery (workspace_id UUID NOT NULL, id UUID NOT NULL, webhook_id UUID NOT NULL,
    event_seq BIGINT NOT NULL, event_name TEXT NOT NULL, body TEXT NOT NULL, tries INTEGER NOT NULL,
    next_try_at TIMESTAMP WITH TIME ZONE, lease_token UUID, lease_expires_at TIMESTAMP WITH TIME ZONE,
    delivered_at TIMESTAMP WITH TIME ZONE, given_up_at TIMESTAMP WITH TIME ZONE, created_at TIMESTAMP WITH
    TIME ZONE NOT NULL, CONSTRAINT pk_webhook_delivery PRIMARY KEY (workspace_id, id), CONSTRAINT
    fk_webhook_delivery_workspace_id_webhook_id FOREIGN KEY(workspace_id, webhook_id) REFERENCES webhook
    (workspace_id, id), CONSTRAINT uq_webhook_delivery_event UNIQUE (workspace_id, webhook_id, event_seq,
    event_name), CONSTRAINT ck_webhook_delivery_tries CHECK (tries >= 0), CONSTRAINT ck_webhook_delivery_lease
    CHECK ((lease_token IS NULL) = (lease_expires_at IS NULL)), CONSTRAINT ck_webhook_delivery_next_try_at
    CHECK (next_try_at IS NULL OR (delivered_at IS NULL AND given_up_at IS NULL)));
CREATE INDEX ix_webhook_delivery_due ON webhook_delivery (next_try_at, workspace_id, id) WHERE next_try_at IS
    NOT NULL;
CREATE TABLE webhook_delivery_try (workspace_id UUID NOT NULL, delivery_id UUID NOT NULL, number INTEGER NOT
    NULL, http_status INTEGER, error TEXT, duration_ms INTEGER NOT NULL, tried_at TIMESTAMP WITH TIME ZONE NOT
    NULL, CONSTRAINT pk_webhook_delivery_try PRIMARY KEY (workspace_id, delivery_id, number), CONSTRAINT
    fk_webhook_delivery_try_workspace_id_delivery_id FOREIGN KEY(workspace_id, delivery_id) REFERENCES
    webhook_delivery (workspace_id, id));
ALTER TABLE post ADD COLUMN imported_at TIMESTAMP WITH TIME ZONE;
ALTER TABLE event DROP CONSTRAINT fk_event_workspace_id_destination_id;
DROP INDEX ix_destination_account_unsettled;
CREATE INDEX ix_destination_account_unsettled ON destination (workspace_id, account_id, status, claimable_at)
    WHERE settled_at IS NULL;
DROP TABLE idempotency_key;
CREATE TABLE idempotency_key (workspace_id UUID NOT NULL, operation TEXT NOT NULL, key TEXT NOT NULL,
    fingerprint BYTEA NOT NULL, outcome JSON NOT NULL, created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL, CONSTRAINT pk_idempotency_key PRIMARY KEY (workspace_id,
    operation, key), CONSTRAINT fk_idempotency_key_workspace_id FOREIGN KEY(workspace_id) REFERENCES workspace
    (id));
CREATE INDEX ix_idempotency_key_expires_at ON idempotency_key (expires_at);
DROP INDEX ix_destination_started;
CREATE INDEX ix_destination_leased ON destination (workspace_id, lease_expires_at, id) WHERE lease_token IS
    NOT NULL;
CREATE INDEX ix_destination_claimable_platform ON destination (workspace_id, platform, claimable_at, id) WHERE
    claimable_at IS NOT NULL;
