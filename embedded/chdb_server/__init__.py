"""ClickHouse's own engine (chDB) behind ClickHouse's HTTP interface.

A database for one machine, needing no server installed: the `clickhouse` Rust
crate, clickhouse-connect and curl speak to it as to a ClickHouse server.

The map, from the rim inwards:

    cli          flags and environment -> Config
    app          start, signals, drain, exit codes
    server       sockets: connection limits, idle and slow clients
    http_handler one request: route, guard, authenticate, answer errors
    execution    what the SQL is, and how it is run (insert, stream, buffer)
    engine       the only module that touches chDB
    protocol, decoding, multipart, settings, auth     the request, read
    reply, formats, errors                            the answer, written
    sqltext      the little we must know of SQL
    datadir      the data directory: lock, engine configuration
"""
