"""Pictures of portraits: charts as SVG and PNG, reports as HTML and PDF, all from the same drawings."""
