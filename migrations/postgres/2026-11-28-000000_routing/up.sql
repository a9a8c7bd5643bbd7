-- What routing looks for and decides, and where a model's context begins.

-- A JSON array of words.
alter table conversation add column tags text not null default '[]';
-- Turns below that number are out of the context; the summary stands in their place.
alter table conversation add column context_from bigint not null default 0;
alter table conversation add column context_summary text;
-- Why a model answers, as JSON.
alter table turn add column routing text;
