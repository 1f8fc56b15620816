from ai_services.monitor.app import create_service
from shared.serving.process import main

if __name__ == "__main__":
    main("monitor", create_service)
