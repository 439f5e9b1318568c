"""Everything the stages do, usable without Luigi: `python -m resnet STAGE`."""
