"""Jobs and schedules of an organisation, seen and changed over HTTP."""
