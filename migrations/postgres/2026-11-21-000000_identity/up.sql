-- Who may come in, what was taken back from whom, and a record of all administration that nobody can change.

alter table organization add column disabled_at bigint;
alter table account add column disabled_at bigint;
-- A password as its PHC text; never the password.
alter table account add column password text;
-- Tokens that were issued before are refused.
alter table account add column tokens_from bigint not null default 0;

create table device (
    organization_id text collate "C" not null,
    id text collate "C" not null,
    user_id text collate "C" not null,
    name text not null,
    role text not null,
    hash bytea not null unique,
    created_at bigint not null,
    last_seen_at bigint,
    revoked_at bigint,
    primary key (organization_id, id),
    foreign key (organization_id, user_id) references account (organization_id, id) on delete cascade
);
create index device_of_user on device (organization_id, user_id, id);

create table pairing_code (
    hash bytea not null primary key,
    organization_id text collate "C" not null,
    user_id text collate "C" not null,
    role text not null,
    device_name text not null,
    created_at bigint not null,
    expires_at bigint not null,
    used_at bigint,
    foreign key (organization_id, user_id) references account (organization_id, id) on delete cascade
);
create index pairing_code_of_user on pairing_code (organization_id, user_id);
create index pairing_code_by_end on pairing_code (expires_at);

-- A ticket that was used is gone.
create table ticket (
    hash bytea not null primary key,
    organization_id text collate "C" not null,
    user_id text collate "C" not null,
    credential text not null,
    role text not null,
    hub_admin boolean not null,
    permissions text not null,
    credential_expires_at bigint,
    route text not null,
    origin text,
    created_at bigint not null,
    expires_at bigint not null,
    foreign key (organization_id, user_id) references account (organization_id, id) on delete cascade
);
create index ticket_of_user on ticket (organization_id, user_id);
create index ticket_by_end on ticket (expires_at);

-- Single tokens that are refused although they have not ended.
create table revoked_token (
    organization_id text collate "C" not null references organization (id) on delete cascade,
    token_id text collate "C" not null,
    expires_at bigint not null,
    primary key (organization_id, token_id)
);
create index revoked_token_by_end on revoked_token (expires_at);

-- Whose rights changed: read by every process of the hub. n rises in the order in which the changes are seen.
create table identity_change (
    n bigint generated always as identity primary key,
    at bigint not null,
    organization_id text collate "C" not null,
    -- absent: the whole organization
    user_id text collate "C"
);
create index identity_change_by_age on identity_change (at);

create table audit (
    n bigint generated always as identity primary key,
    at bigint not null,
    -- absent: the whole hub
    organization_id text collate "C",
    actor text collate "C",
    -- absent: a stranger
    credential text,
    action text collate "C" not null,
    target text,
    details text not null,
    outcome text,
    origin text not null,
    request_id text not null
);
create index audit_of_organization on audit (organization_id, n);
create index audit_by_action on audit (organization_id, action, n);
create index audit_by_actor on audit (organization_id, actor, n);

create function audit_is_kept() returns trigger language plpgsql as $$
begin
    raise exception 'the audit log is append-only';
end
$$;
create trigger audit_never_changes before update or delete or truncate on audit
    for each statement execute function audit_is_kept();

-- What is forgotten by age is found by age.
create index sign_in_link_by_end on sign_in_link (expires_at);
create index hub_session_by_end on hub_session (expires_at);
create index fact_by_age on fact (at);
