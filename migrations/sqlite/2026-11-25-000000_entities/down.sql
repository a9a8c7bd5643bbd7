drop index conversation_of_entity;
alter table conversation drop column entity_id;
alter table conversation drop column entity_type;
