"""What a greeting is made of."""


def greeting(salutation: str, name: str) -> str:
    """Joins a salutation and a name; a blank name greets the world."""
    name = name.strip()
    if not name:
        name = "world"
    return f"{salutation}, {name}!"
