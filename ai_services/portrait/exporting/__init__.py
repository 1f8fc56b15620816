"""All snapshots of a period as a file: CSV, Parquet or a workbook."""
