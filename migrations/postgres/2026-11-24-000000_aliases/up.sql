-- What a user calls a conversation: an id that the client brought along, of that user alone.

create table conversation_alias (
    organization_id text collate "C" not null,
    user_id text collate "C" not null,
    alias text collate "C" not null,
    conversation_id text collate "C" not null,
    created_at bigint not null,
    primary key (organization_id, user_id, alias),
    foreign key (organization_id, conversation_id) references conversation (organization_id, id) on delete cascade
);
create index conversation_alias_of on conversation_alias (organization_id, conversation_id);
