# The one binary with all roles, and the policies and configuration it ships with.
# Build and run it with docker-compose.yml beside this file.

# The web console's pages, which the binary takes in.
FROM node:20.20.2-bookworm-slim AS console
WORKDIR /src/ui
COPY ui/package.json ui/package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY ui .
RUN npm run build

FROM rust:1.95.0-slim-bookworm AS build
WORKDIR /src
COPY . .
COPY --from=console /src/ui/dist ui/dist
# The caches stay between builds and out of the image.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin sluicegate \
    && cp target/release/sluicegate /usr/local/bin/sluicegate

FROM debian:bookworm-20260824-slim
LABEL org.opencontainers.image.title="Sluicegate" \
      org.opencontainers.image.description="Event-driven policy enforcer for fleets of autonomous agents, over NATS" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
# Root certificates, for NATS and ClickHouse behind TLS.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /usr/local/bin/sluicegate /usr/local/bin/sluicegate
WORKDIR /app
COPY policies policies
COPY config config
# A volume that is new takes its owner from here.
RUN install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/sluicegate/spill
# By number, so that a cluster can see that it is not root.
USER 10001:10001
EXPOSE 8181
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["sluicegate", "health"]
ENTRYPOINT ["sluicegate"]
CMD ["--help"]
