"""The page of a diagnosis of units: results/diagnosis.html."""
