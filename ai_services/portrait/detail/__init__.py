"""What lies behind the figures of one period: hours, durations, topics, reasons, follow-ups."""
