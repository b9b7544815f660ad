"""Everything that knows torch and MONAI; `catalogue` alone can be read without them."""
