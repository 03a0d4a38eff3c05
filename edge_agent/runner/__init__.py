"""The road's driver: queue, batch, engine, commit, acknowledge, publish. It knows ports only.

The way of a message, and who sees to it:

- `waiting` holds it until `loop` gathers it into a batch, which `taking` begins and fills.
- `road` passes it on by its topic: to `event_intake`, `device_messages`, `store_messages`,
  `hq_commands` or `passing_time`. What these have in common is the `open_batch`.
- `commits` sees that the batch is written: by `writing` when all is well, by `isolation` where one
  message spoils the others, by `full_disk` where there is no room.
- `acknowledgements` follow the commit; `outbox` and `egress` send what was committed.

Between two batches `periods` are closed and calls answered (`answering`). `road_assembly` and
`loop_assembly` put the parts together.
"""
