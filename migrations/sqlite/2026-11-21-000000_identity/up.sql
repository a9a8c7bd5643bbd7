-- Who may come in, what was taken back from whom, and a record of all administration that nobody can change.

alter table organization add column disabled_at integer;
alter table account add column disabled_at integer;
-- A password as its PHC text; never the password.
alter table account add column password text;
-- Tokens that were issued before are refused.
alter table account add column tokens_from integer not null default 0;

create table device (
    organization_id text not null,
    id text not null,
    user_id text not null,
    name text not null,
    role text not null,
    hash blob not null unique,
    created_at integer not null,
    last_seen_at integer,
    revoked_at integer,
    primary key (organization_id, id),
    foreign key (organization_id, user_id) references account (organization_id, id) on delete cascade
) strict;
create index device_of_user on device (organization_id, user_id, id);

create table pairing_code (
    hash blob not null primary key,
    organization_id text not null,
    user_id text not null,
    role text not null,
    device_name text not null,
    created_at integer not null,
    expires_at integer not null,
    used_at integer,
    foreign key (organization_id, user_id) references account (organization_id, id) on delete cascade
) strict;
create index pairing_code_of_user on pairing_code (organization_id, user_id);
create index pairing_code_by_end on pairing_code (expires_at);

-- A ticket that was used is gone.
create table ticket (
    hash blob not null primary key,
    organization_id text not null,
    user_id text not null,
    credential text not null,
    role text not null,
    hub_admin integer not null,
    permissions text not null,
    credential_expires_at integer,
    route text not null,
    origin text,
    created_at integer not null,
    expires_at integer not null,
    foreign key (organization_id, user_id) references account (organization_id, id) on delete cascade
) strict;
create index ticket_of_user on ticket (organization_id, user_id);
create index ticket_by_end on ticket (expires_at);

-- Single tokens that are refused although they have not ended.
create table revoked_token (
    organization_id text not null references organization (id) on delete cascade,
    token_id text not null,
    expires_at integer not null,
    primary key (organization_id, token_id)
) strict;
create index revoked_token_by_end on revoked_token (expires_at);

-- Whose rights changed: read by every process of the hub. n rises in the order in which the changes are seen.
create table identity_change (
    n integer not null primary key autoincrement,
    at integer not null,
    organization_id text not null,
    -- absent: the whole organization
    user_id text
) strict;
create index identity_change_by_age on identity_change (at);

create table audit (
    n integer not null primary key autoincrement,
    at integer not null,
    -- absent: the whole hub
    organization_id text,
    actor text,
    -- absent: a stranger
    credential text,
    action text not null,
    target text,
    details text not null,
    outcome text,
    origin text not null,
    request_id text not null
) strict;
create index audit_of_organization on audit (organization_id, n);
create index audit_by_action on audit (organization_id, action, n);
create index audit_by_actor on audit (organization_id, actor, n);

create trigger audit_never_changes before update on audit begin
    select raise(abort, 'the audit log is append-only');
end;
create trigger audit_never_shrinks before delete on audit begin
    select raise(abort, 'the audit log is append-only');
end;
-- `insert or replace` deletes without asking the trigger above.
create trigger audit_never_replaced before insert on audit when exists (select 1 from audit where n = new.n) begin
    select raise(abort, 'the audit log is append-only');
end;

-- What is forgotten by age is found by age.
create index sign_in_link_by_end on sign_in_link (expires_at);
create index hub_session_by_end on hub_session (expires_at);
create index fact_by_age on fact (at);
