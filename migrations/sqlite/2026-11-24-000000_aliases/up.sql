-- What a user calls a conversation: an id that the client brought along, of that user alone.

create table conversation_alias (
    organization_id text not null,
    user_id text not null,
    alias text not null,
    conversation_id text not null,
    created_at integer not null,
    primary key (organization_id, user_id, alias),
    foreign key (organization_id, conversation_id) references conversation (organization_id, id) on delete cascade
) strict;
create index conversation_alias_of on conversation_alias (organization_id, conversation_id);
