from gateway.hangups import hold

hold()  # before the imports below, which take a second

import asyncio  # noqa: E402
import sys  # noqa: E402
from functools import partial  # noqa: E402

from gateway.app import create_gateway  # noqa: E402
from gateway.workers.supervisor import Supervisor  # noqa: E402
from gateway.workers.worker import worker_place  # noqa: E402
from shared.config import Config  # noqa: E402
from shared.errors import ConfigError  # noqa: E402
from shared.serving.process import EXIT_CONFIG, main  # noqa: E402
from shared.telemetry.logs import configure_logging  # noqa: E402


def start() -> None:
    """One gateway process, or with GATEWAY_WORKERS above 1 the parent of several."""
    worker = worker_place(sys.argv[1:])
    if worker is not None:
        main("gateway", partial(create_gateway, worker=worker))
        return
    try:
        config = Config.from_env()
        if config.gateway_workers == 1:
            main("gateway", create_gateway)
            return
        create_gateway(config)  # a wrong setting is told once, not by every worker
        configure_logging("gateway", config)
        code = asyncio.run(_supervise(config))
    except ConfigError as error:
        sys.stderr.write(f"looma gateway: {error.message}\n")
        raise SystemExit(EXIT_CONFIG) from None
    raise SystemExit(code)


async def _supervise(config: Config) -> int:
    return await Supervisor(config).run()


if __name__ == "__main__":
    start()
