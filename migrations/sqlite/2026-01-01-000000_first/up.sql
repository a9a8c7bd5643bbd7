-- Ids are their own text, times are milliseconds since 1970, everything a tenant owns is keyed by its organization.

create table organization (
    id text not null primary key,
    name text not null,
    created_at integer not null
) strict;

create table account (
    organization_id text not null references organization (id) on delete cascade,
    id text not null,
    role text not null,
    managed integer not null,
    hub_admin integer not null,
    created_at integer not null,
    primary key (organization_id, id)
) strict;

create table api_key (
    organization_id text not null,
    id text not null,
    user_id text not null,
    name text not null,
    hash blob not null unique,
    created_at integer not null,
    expires_at integer,
    revoked_at integer,
    primary key (organization_id, id),
    foreign key (organization_id, user_id) references account (organization_id, id) on delete cascade
) strict;
create index api_key_of_user on api_key (organization_id, user_id);

create table sign_in_link (
    hash blob not null primary key,
    organization_id text not null,
    user_id text not null,
    created_at integer not null,
    expires_at integer not null,
    used_at integer,
    foreign key (organization_id, user_id) references account (organization_id, id) on delete cascade
) strict;
create index sign_in_link_of_user on sign_in_link (organization_id, user_id);

create table hub_session (
    hash blob not null primary key,
    organization_id text not null,
    user_id text not null,
    created_at integer not null,
    expires_at integer not null,
    revoked_at integer,
    foreign key (organization_id, user_id) references account (organization_id, id) on delete cascade
) strict;
create index hub_session_of_user on hub_session (organization_id, user_id);

-- Keys of the hub itself, made at the first start.
create table secret (
    name text not null primary key,
    value blob not null,
    created_at integer not null
) strict;

create table project (
    organization_id text not null,
    id text not null,
    name text not null,
    created_at integer not null,
    primary key (organization_id, id),
    unique (organization_id, name)
) strict;

create table conversation (
    organization_id text not null,
    id text not null,
    user_id text not null,
    project_id text,
    title text not null,
    state text not null,
    visibility text not null,
    agent text not null,
    model text,
    thinking text not null,
    channel text,
    next_turn_no integer not null,
    input_tokens integer not null,
    output_tokens integer not null,
    cache_read_tokens integer not null,
    cache_write_tokens integer not null,
    cost real,
    created_at integer not null,
    updated_at integer not null,
    primary key (organization_id, id),
    foreign key (organization_id, project_id) references project (organization_id, id)
) strict;
create index conversation_of_user on conversation (organization_id, user_id, id);
create index conversation_of_project on conversation (organization_id, project_id, id);

create table turn (
    organization_id text not null,
    id text not null,
    conversation_id text not null,
    no integer not null,
    state text not null,
    live integer not null,
    message_id text not null,
    answer_id text,
    user_id text not null,
    model text,
    steps integer not null,
    input_tokens integer not null,
    output_tokens integer not null,
    cache_read_tokens integer not null,
    cache_write_tokens integer not null,
    cost real,
    retry_of text,
    receipt text,
    error text,
    created_at integer not null,
    started_at integer,
    ended_at integer,
    boot text not null,
    primary key (organization_id, id),
    unique (organization_id, conversation_id, no),
    foreign key (organization_id, conversation_id) references conversation (organization_id, id) on delete cascade
) strict;
create index turn_live on turn (organization_id, conversation_id) where live;

create table message (
    organization_id text not null,
    id text not null,
    conversation_id text not null,
    turn_id text not null,
    turn_no integer not null,
    idx integer not null,
    author text not null,
    user_id text,
    state text not null,
    superseded integer not null,
    provider text,
    model text,
    input_tokens integer,
    output_tokens integer,
    cache_read_tokens integer,
    cache_write_tokens integer,
    cost real,
    created_at integer not null,
    primary key (organization_id, id),
    unique (organization_id, conversation_id, turn_no, idx),
    foreign key (organization_id, conversation_id) references conversation (organization_id, id) on delete cascade
) strict;

create table part (
    organization_id text not null,
    id text not null,
    message_id text not null,
    idx integer not null,
    kind text not null,
    text text not null,
    data text,
    -- bytes of text and data
    size integer not null,
    primary key (organization_id, id),
    foreign key (organization_id, message_id) references message (organization_id, id) on delete cascade
) strict;
create index part_of_message on part (organization_id, message_id, idx);

-- Text of parts that still grow. Appended, never updated, never indexed; deleted by n when the part is final.
create table part_tail (
    n integer not null primary key autoincrement,
    organization_id text not null,
    conversation_id text not null,
    part_id text not null,
    text text not null
) strict;

create table approval (
    organization_id text not null,
    id text not null,
    conversation_id text not null,
    turn_id text not null,
    call_id text not null,
    tool text not null,
    summary text not null,
    risks text not null,
    input text not null,
    correlation_id text not null,
    state text not null,
    pending integer not null,
    requested_at integer not null,
    deadline integer not null,
    decided_by text,
    decided_at integer,
    reason text,
    origin text,
    primary key (organization_id, id),
    foreign key (organization_id, conversation_id) references conversation (organization_id, id) on delete cascade
) strict;
create index approval_of_conversation on approval (organization_id, conversation_id, requested_at);
create index approval_pending on approval (organization_id, conversation_id) where pending;

create table todo_list (
    organization_id text not null,
    conversation_id text not null,
    items text not null,
    primary key (organization_id, conversation_id),
    foreign key (organization_id, conversation_id) references conversation (organization_id, id) on delete cascade
) strict;

-- What happened, in ids and states. n is gapless within a conversation.
create table fact (
    organization_id text not null,
    conversation_id text not null,
    n integer not null,
    at integer not null,
    kind text not null,
    turn_id text,
    user_id text,
    refs text not null,
    primary key (organization_id, conversation_id, n),
    foreign key (organization_id, conversation_id) references conversation (organization_id, id) on delete cascade
) strict;

create table idempotency (
    organization_id text not null,
    user_id text not null,
    key text not null,
    conversation_id text not null,
    request blob not null,
    answer text not null,
    created_at integer not null,
    primary key (organization_id, user_id, key)
) strict;
create index idempotency_of_conversation on idempotency (organization_id, conversation_id);
create index idempotency_by_age on idempotency (created_at);

-- Which messages can be found, and under which row of the full text.
create table message_index (
    n integer not null primary key autoincrement,
    organization_id text not null,
    conversation_id text not null,
    message_id text not null,
    unique (organization_id, message_id),
    foreign key (organization_id, message_id) references message (organization_id, id) on delete cascade
) strict;

-- The words only: the texts stand in `part`. `scope` is the organization, so that a search never walks another's words.
create virtual table message_words using fts5 (scope, words, content='', contentless_delete=1, tokenize="unicode61");

create trigger message_index_gone after delete on message_index begin
    delete from message_words where rowid = old.n;
end;
