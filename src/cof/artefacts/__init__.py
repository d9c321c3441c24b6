"""How results are written and read: tables, folders that appear whole, and what made them."""
