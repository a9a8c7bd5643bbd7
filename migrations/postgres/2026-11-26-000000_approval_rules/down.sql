drop table approval_rule;
alter table approval drop column remembers;
