"""The engine of a dask cluster; dask is imported when the engine is first used."""
