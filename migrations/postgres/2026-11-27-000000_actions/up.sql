-- One execution of an action: written before its effect, and what came of it after.

create table action_execution (
    organization_id text collate "C" not null,
    id text collate "C" not null,
    action text collate "C" not null,
    entity_type text collate "C",
    entity_id text collate "C",
    input text not null,
    user_id text collate "C" not null,
    -- the conversation whose agent did it
    agent_of text collate "C",
    -- pending, executing, completed, failed, undone, unknown
    state text collate "C" not null,
    result text,
    error text,
    request_id text not null,
    created_at bigint not null,
    ended_at bigint,
    undo_until bigint,
    -- somebody undoes it, or has
    undo_claimed_at bigint,
    undone_at bigint,
    undone_by text collate "C",
    primary key (organization_id, id)
);
create index action_execution_of on action_execution (organization_id, action, entity_type, entity_id, id);
-- What a start of the hub has to settle.
create index action_execution_open on action_execution (state) where state in ('pending', 'executing', 'completed');
