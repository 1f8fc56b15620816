from ai_services.llm.app import create_service
from shared.serving.process import main

if __name__ == "__main__":
    main("llm", create_service)
