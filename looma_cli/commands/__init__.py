"""One module per command of `looma`: options read, work called, results shown."""
