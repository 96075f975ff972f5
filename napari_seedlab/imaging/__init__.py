"""Arrays in, arrays out: splitting, crops, region statistics, the phantom."""
