drop table hub_settings;
