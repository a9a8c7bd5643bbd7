-- Settings of the hub that were changed while it ran: one row, whose number rises with every change.

create table hub_settings (
    n bigint not null primary key,
    at bigint not null,
    -- a JSON object: key and value
    document text not null
);
