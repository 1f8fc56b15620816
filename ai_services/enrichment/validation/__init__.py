"""What a call record is: its fields, its rules by whole columns, and the reasons for a reject."""
