alter table turn drop column routing;
alter table conversation drop column context_summary;
alter table conversation drop column context_from;
alter table conversation drop column tags;
