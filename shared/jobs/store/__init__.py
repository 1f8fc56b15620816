"""The queries of the jobs: putting them in, running them, looking after them, their schedules."""
