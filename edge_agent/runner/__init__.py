"""The road's driver: queue, batch, engine, commit, acknowledge, publish. It knows ports only."""
