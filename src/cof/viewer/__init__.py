"""What the report and the page of one heart share: cines that play, their script and style, and safe templates."""
