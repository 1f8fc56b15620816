from ai_services.enrichment.app import create_service
from shared.serving.process import main

if __name__ == "__main__":
    main("enrichment", create_service)
