-- What was spent, in whole millionths of a US dollar, and what may be.

alter table conversation add column cost_micros integer;
update conversation set cost_micros = cast(round(cost * 1000000) as integer) where cost is not null;
alter table conversation drop column cost;
alter table turn add column cost_micros integer;
update turn set cost_micros = cast(round(cost * 1000000) as integer) where cost is not null;
alter table turn drop column cost;
alter table message add column cost_micros integer;
update message set cost_micros = cast(round(cost * 1000000) as integer) where cost is not null;
alter table message drop column cost;
-- The budget that refused a turn, as JSON.
alter table turn add column refusal text;
create index turn_by_start on turn (organization_id, started_at) where started_at is not null;

-- One period of one budget for one who spends: what was used, and what calls under way may use at most.
create table budget_book (
    organization_id text not null,
    budget text not null,
    -- the user, agent or model; empty: the organization itself
    subject text not null,
    begins_at integer not null,
    used_tokens integer not null,
    used_micros integer not null,
    held_tokens integer not null,
    held_micros integer not null,
    primary key (organization_id, budget, subject, begins_at)
) strict;
create index budget_book_by_age on budget_book (begins_at);

-- A call under way, once for each budget that it counts in. Its end, or the next start of the hub, takes it away.
create table budget_hold (
    organization_id text not null,
    id text not null,
    budget text not null,
    subject text not null,
    begins_at integer not null,
    tokens integer not null,
    micros integer not null,
    -- what is booked where nobody can say what was used
    least_tokens integer not null,
    least_micros integer not null,
    created_at integer not null,
    primary key (organization_id, id, budget)
) strict;
