"""`python -m napari_precimed`, the same as `precimed`."""

from napari_precimed.cli import main

if __name__ == "__main__":
    main()
