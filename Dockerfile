# Two stages: the first one needs npm and pip and is thrown away, the second one is what runs.
FROM python:3.11-slim-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends npm \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source

# The page plays through hls.js.
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev \
    && install -D -m 644 node_modules/hls.js/dist/hls.min.js static/vendor/hls.min.js

COPY setup.cfg pyproject.toml constraints.txt README.md LICENSE ./
COPY config config
COPY static static
COPY streamsrv streamsrv
# Separation needs torch and Demucs, some gigabytes. Without them: docker build --build-arg EXTRAS= ...
ARG EXTRAS=separate
# A wheel, so that what runs is what would be installed anywhere else.
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
    && python -m venv /opt/streamsrv \
    && /opt/streamsrv/bin/pip install --no-cache-dir --constraint constraints.txt "$(echo /wheels/*.whl)${EXTRAS:+[$EXTRAS]}"


FROM python:3.11-slim-bookworm
RUN apt-get update \
    && apt-get install -y --no-install-recommends ffmpeg \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin streamsrv \
    && install -d -m 700 -o streamsrv -g streamsrv /data
# A virtual environment knows its own path, so it stays where it was made.
COPY --from=build /opt/streamsrv /opt/streamsrv
# HOME, because a library asks for it when it is imported, and the user of `docker run --user` may have none.
ENV PATH=/opt/streamsrv/bin:$PATH \
    HOME=/data \
    PYTHONUNBUFFERED=1 \
    STREAMSRV_SERVER__HOSTS=0.0.0.0,:: \
    STREAMSRV_SERVER__PORTS=5000,8080,8082 \
    STREAMSRV_SERVER__DATA_DIR=/data
# All addresses of the container. Publish them on 127.0.0.1 of the host: there is no login.
EXPOSE 5000 8080 8082
VOLUME /data
USER streamsrv
WORKDIR /data

# The first of the ports, and never by way of a proxy that the environment may name.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s CMD ["python", "-c", "import os, urllib.request as r; port = os.environ['STREAMSRV_SERVER__PORTS'].strip('[] ').split(',')[0].strip(); r.build_opener(r.ProxyHandler({})).open(f'http://127.0.0.1:{port}/health', timeout=4)"]
# Running requests get 5 seconds (server.shutdown_seconds), jobs go back to wait; Docker gives 10 before it kills.
STOPSIGNAL SIGTERM
CMD ["python", "-m", "streamsrv", "serve"]
