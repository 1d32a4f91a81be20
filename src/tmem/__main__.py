"""``python -m tmem`` is ``tmem``, for launchers that start modules."""

from tmem.cli import main

if __name__ == "__main__":
    main()
