drop table conversation_alias;
