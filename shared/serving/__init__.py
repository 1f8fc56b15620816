"""The life of a server process: socket, endpoints, answers, registration, restarts."""
