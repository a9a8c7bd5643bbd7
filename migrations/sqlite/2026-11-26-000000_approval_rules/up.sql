-- Answers to approvals that are kept, each for one user and one agent.

create table approval_rule (
    organization_id text not null,
    id text not null,
    user_id text not null,
    agent text not null,
    tool text not null,
    -- arguments: the very same; tool: whatever they are
    scope text not null,
    -- SHA-256 of tool and canonical arguments, in hexadecimal
    digest text not null,
    -- the arguments that were seen, as canonical JSON
    input text not null,
    approved integer not null,
    approval_id text not null,
    created_at integer not null,
    primary key (organization_id, id)
) strict;
create index approval_rule_of on approval_rule (organization_id, user_id, agent, tool);

-- Which answers may be kept; of old questions none.
alter table approval add column remembers text not null default 'never';
