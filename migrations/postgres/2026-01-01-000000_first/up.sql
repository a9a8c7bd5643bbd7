-- Ids are their own text, times are milliseconds since 1970, everything a tenant owns is keyed by its organization.

create table organization (
    id text collate "C" not null primary key,
    name text not null,
    created_at bigint not null
);

create table account (
    organization_id text collate "C" not null references organization (id) on delete cascade,
    id text collate "C" not null,
    role text not null,
    managed boolean not null,
    hub_admin boolean not null,
    created_at bigint not null,
    primary key (organization_id, id)
);

create table api_key (
    organization_id text collate "C" not null,
    id text collate "C" not null,
    user_id text collate "C" not null,
    name text not null,
    hash bytea not null unique,
    created_at bigint not null,
    expires_at bigint,
    revoked_at bigint,
    primary key (organization_id, id),
    foreign key (organization_id, user_id) references account (organization_id, id) on delete cascade
);
create index api_key_of_user on api_key (organization_id, user_id);

create table sign_in_link (
    hash bytea not null primary key,
    organization_id text collate "C" not null,
    user_id text collate "C" not null,
    created_at bigint not null,
    expires_at bigint not null,
    used_at bigint,
    foreign key (organization_id, user_id) references account (organization_id, id) on delete cascade
);
create index sign_in_link_of_user on sign_in_link (organization_id, user_id);

create table hub_session (
    hash bytea not null primary key,
    organization_id text collate "C" not null,
    user_id text collate "C" not null,
    created_at bigint not null,
    expires_at bigint not null,
    revoked_at bigint,
    foreign key (organization_id, user_id) references account (organization_id, id) on delete cascade
);
create index hub_session_of_user on hub_session (organization_id, user_id);

-- Keys of the hub itself, made at the first start.
create table secret (
    name text not null primary key,
    value bytea not null,
    created_at bigint not null
);

create table project (
    organization_id text collate "C" not null,
    id text collate "C" not null,
    name text not null,
    created_at bigint not null,
    primary key (organization_id, id),
    unique (organization_id, name)
);

create table conversation (
    organization_id text collate "C" not null,
    id text collate "C" not null,
    user_id text collate "C" not null,
    project_id text collate "C",
    title text not null,
    state text not null,
    visibility text not null,
    agent text not null,
    model text,
    thinking text not null,
    channel text,
    next_turn_no bigint not null,
    input_tokens bigint not null,
    output_tokens bigint not null,
    cache_read_tokens bigint not null,
    cache_write_tokens bigint not null,
    cost double precision,
    created_at bigint not null,
    updated_at bigint not null,
    primary key (organization_id, id),
    foreign key (organization_id, project_id) references project (organization_id, id)
);
create index conversation_of_user on conversation (organization_id, user_id, id);
create index conversation_of_project on conversation (organization_id, project_id, id);

create table turn (
    organization_id text collate "C" not null,
    id text collate "C" not null,
    conversation_id text collate "C" not null,
    no bigint not null,
    state text not null,
    live boolean not null,
    message_id text collate "C" not null,
    answer_id text collate "C",
    user_id text collate "C" not null,
    model text,
    steps integer not null,
    input_tokens bigint not null,
    output_tokens bigint not null,
    cache_read_tokens bigint not null,
    cache_write_tokens bigint not null,
    cost double precision,
    retry_of text,
    receipt text,
    error text,
    created_at bigint not null,
    started_at bigint,
    ended_at bigint,
    boot text not null,
    primary key (organization_id, id),
    unique (organization_id, conversation_id, no),
    foreign key (organization_id, conversation_id) references conversation (organization_id, id) on delete cascade
);
create index turn_live on turn (organization_id, conversation_id) where live;

create table message (
    organization_id text collate "C" not null,
    id text collate "C" not null,
    conversation_id text collate "C" not null,
    turn_id text collate "C" not null,
    turn_no bigint not null,
    idx integer not null,
    author text not null,
    user_id text collate "C",
    state text not null,
    superseded boolean not null,
    provider text,
    model text,
    input_tokens bigint,
    output_tokens bigint,
    cache_read_tokens bigint,
    cache_write_tokens bigint,
    cost double precision,
    created_at bigint not null,
    primary key (organization_id, id),
    unique (organization_id, conversation_id, turn_no, idx),
    foreign key (organization_id, conversation_id) references conversation (organization_id, id) on delete cascade
);

create table part (
    organization_id text collate "C" not null,
    id text collate "C" not null,
    message_id text collate "C" not null,
    idx integer not null,
    kind text not null,
    text text not null,
    data text,
    -- bytes of text and data
    size bigint not null,
    primary key (organization_id, id),
    foreign key (organization_id, message_id) references message (organization_id, id) on delete cascade
);
create index part_of_message on part (organization_id, message_id, idx);

-- Text of parts that still grow. Appended, never updated, never indexed; deleted by n when the part is final.
create table part_tail (
    n bigint generated always as identity primary key,
    organization_id text collate "C" not null,
    conversation_id text collate "C" not null,
    part_id text collate "C" not null,
    text text not null
);

create table approval (
    organization_id text collate "C" not null,
    id text collate "C" not null,
    conversation_id text collate "C" not null,
    turn_id text collate "C" not null,
    call_id text collate "C" not null,
    tool text not null,
    summary text not null,
    risks text not null,
    input text not null,
    correlation_id text collate "C" not null,
    state text not null,
    pending boolean not null,
    requested_at bigint not null,
    deadline bigint not null,
    decided_by text,
    decided_at bigint,
    reason text,
    origin text,
    primary key (organization_id, id),
    foreign key (organization_id, conversation_id) references conversation (organization_id, id) on delete cascade
);
create index approval_of_conversation on approval (organization_id, conversation_id, requested_at);
create index approval_pending on approval (organization_id, conversation_id) where pending;

create table todo_list (
    organization_id text collate "C" not null,
    conversation_id text collate "C" not null,
    items text not null,
    primary key (organization_id, conversation_id),
    foreign key (organization_id, conversation_id) references conversation (organization_id, id) on delete cascade
);

-- What happened, in ids and states. n is gapless within a conversation.
create table fact (
    organization_id text collate "C" not null,
    conversation_id text collate "C" not null,
    n bigint not null,
    at bigint not null,
    kind text not null,
    turn_id text collate "C",
    user_id text collate "C",
    refs text not null,
    primary key (organization_id, conversation_id, n),
    foreign key (organization_id, conversation_id) references conversation (organization_id, id) on delete cascade
);

create table idempotency (
    organization_id text collate "C" not null,
    user_id text collate "C" not null,
    key text collate "C" not null,
    conversation_id text collate "C" not null,
    request bytea not null,
    answer text not null,
    created_at bigint not null,
    primary key (organization_id, user_id, key)
);
create index idempotency_of_conversation on idempotency (organization_id, conversation_id);
create index idempotency_by_age on idempotency (created_at);

-- Which messages can be found, and under which row of the full text.
create table message_index (
    n bigint generated always as identity primary key,
    organization_id text collate "C" not null,
    conversation_id text collate "C" not null,
    message_id text collate "C" not null,
    -- The words only: the texts stand in `part`. The organization is one of them, so that a search never walks another's.
    words tsvector not null,
    unique (organization_id, message_id),
    foreign key (organization_id, message_id) references message (organization_id, id) on delete cascade
);
create index message_words on message_index using gin (words);
