"""The engine of a dask cluster. Dask is optional: it is imported when the engine is first used."""
