"""Reading a study's folder into data frames."""
