-- Settings of the hub that were changed while it ran: one row, whose number rises with every change.

create table hub_settings (
    n integer not null primary key,
    at integer not null,
    -- a JSON object: key and value
    document text not null
) strict;
