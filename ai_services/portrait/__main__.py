from ai_services.portrait.app import create_service
from shared.serving.process import main

if __name__ == "__main__":
    main("portrait", create_service)
