"""Reading and writing artefacts: whole or not at all, with clear errors. No heavy imports here."""
