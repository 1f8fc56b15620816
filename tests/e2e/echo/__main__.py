from ai_services.echo.app import create_service

from shared.serving.process import main

if __name__ == "__main__":
    main("echo", create_service)
