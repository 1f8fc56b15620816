"""Exit codes of `looma`; `looma --help` and docs/cli.md list them."""

OK = 0
FAILED = 1  # refused, or a store or service did not answer
USAGE = 2  # a wrong option or setting; also what a service process ends with then
ALREADY_UP = 3
PARTLY = 4  # done, but the file was damaged, or something found is not as it should be
INTERRUPTED = 130

MEANING = (
    (OK, "done"),
    (FAILED, "refused or failed"),
    (USAGE, "wrong option or setting"),
    (ALREADY_UP, "already up"),
    (PARTLY, "done in part, or a check found something"),
    (INTERRUPTED, "interrupted"),
)
