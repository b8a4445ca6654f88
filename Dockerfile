# PostgreSQL with minga_roster and pg_cron, on the official image. docs/operations.md says how to run it.
#
#   docker build -t minga_roster .
#   docker build -t minga_roster --build-arg BASE=postgres:17-trixie .
ARG BASE=postgres:15-bookworm

FROM ${BASE} AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        gcc make "postgresql-server-dev-$PG_MAJOR" libcurl4-openssl-dev libssl-dev \
    && rm -rf /var/lib/apt/lists/*
COPY . /src
RUN make -C /src -j"$(nproc)" with_llvm=no \
    && make -C /src install with_llvm=no DESTDIR=/out

FROM ${BASE}
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        "postgresql-$PG_MAJOR-cron" libcurl4 ca-certificates \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /out/ /
COPY docker/initdb.sh /docker-entrypoint-initdb.d/50-minga-roster.sh
