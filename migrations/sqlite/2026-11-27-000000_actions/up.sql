-- One execution of an action: written before its effect, and what came of it after.

create table action_execution (
    organization_id text not null,
    id text not null,
    action text not null,
    entity_type text,
    entity_id text,
    input text not null,
    user_id text not null,
    -- the conversation whose agent did it
    agent_of text,
    -- pending, executing, completed, failed, undone, unknown
    state text not null,
    result text,
    error text,
    request_id text not null,
    created_at integer not null,
    ended_at integer,
    undo_until integer,
    -- somebody undoes it, or has
    undo_claimed_at integer,
    undone_at integer,
    undone_by text,
    primary key (organization_id, id)
) strict;
create index action_execution_of on action_execution (organization_id, action, entity_type, entity_id, id);
-- What a start of the hub has to settle.
create index action_execution_open on action_execution (state) where state in ('pending', 'executing', 'completed');
