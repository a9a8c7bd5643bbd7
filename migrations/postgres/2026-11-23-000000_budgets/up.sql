-- What was spent, in whole millionths of a US dollar, and what may be.

alter table conversation alter column cost type bigint using round(cost * 1000000)::bigint;
alter table conversation rename column cost to cost_micros;
alter table turn alter column cost type bigint using round(cost * 1000000)::bigint;
alter table turn rename column cost to cost_micros;
alter table message alter column cost type bigint using round(cost * 1000000)::bigint;
alter table message rename column cost to cost_micros;
-- The budget that refused a turn, as JSON.
alter table turn add column refusal text;
create index turn_by_start on turn (organization_id, started_at) where started_at is not null;

-- One period of one budget for one who spends: what was used, and what calls under way may use at most.
create table budget_book (
    organization_id text collate "C" not null,
    budget text collate "C" not null,
    -- the user, agent or model; empty: the organization itself
    subject text collate "C" not null,
    begins_at bigint not null,
    used_tokens bigint not null,
    used_micros bigint not null,
    held_tokens bigint not null,
    held_micros bigint not null,
    primary key (organization_id, budget, subject, begins_at)
);
create index budget_book_by_age on budget_book (begins_at);

-- A call under way, once for each budget that it counts in. Its end, or the next start of the hub, takes it away.
create table budget_hold (
    organization_id text collate "C" not null,
    id text collate "C" not null,
    budget text collate "C" not null,
    subject text collate "C" not null,
    begins_at bigint not null,
    tokens bigint not null,
    micros bigint not null,
    -- what is booked where nobody can say what was used
    least_tokens bigint not null,
    least_micros bigint not null,
    created_at bigint not null,
    primary key (organization_id, id, budget)
);
