"""Personal data in prompts: masked before they leave, put back in answers."""
