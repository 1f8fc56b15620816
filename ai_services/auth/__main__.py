from ai_services.auth.app import create_service
from shared.serving.process import main

if __name__ == "__main__":
    main("auth", create_service)
