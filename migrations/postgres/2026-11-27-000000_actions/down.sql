drop table action_execution;
