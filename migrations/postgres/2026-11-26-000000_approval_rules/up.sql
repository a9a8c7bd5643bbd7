-- Answers to approvals that are kept, each for one user and one agent.

create table approval_rule (
    organization_id text collate "C" not null,
    id text collate "C" not null,
    user_id text collate "C" not null,
    agent text collate "C" not null,
    tool text collate "C" not null,
    -- arguments: the very same; tool: whatever they are
    scope text collate "C" not null,
    -- SHA-256 of tool and canonical arguments, in hexadecimal
    digest text collate "C" not null,
    -- the arguments that were seen, as canonical JSON
    input text not null,
    approved boolean not null,
    approval_id text collate "C" not null,
    created_at bigint not null,
    primary key (organization_id, id)
);
create index approval_rule_of on approval_rule (organization_id, user_id, agent, tool);

-- Which answers may be kept; of old questions none.
alter table approval add column remembers text not null default 'never';
