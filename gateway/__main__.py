from gateway.app import create_gateway
from shared.process import main

if __name__ == "__main__":
    main("gateway", create_gateway)
