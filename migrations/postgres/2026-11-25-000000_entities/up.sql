-- What a conversation is about, in the words of the application around the hub.

alter table conversation add column entity_type text collate "C";
alter table conversation add column entity_id text collate "C";
create index conversation_of_entity on conversation (organization_id, user_id, entity_type, entity_id, agent)
    where entity_type is not null;
