FROM python:3.13-slim AS build
WORKDIR /source
# pip has an environment of its own, so that the image is without it
RUN python -m venv /pip && python -m venv --without-pip /opt/openrouter-sse-backend
ENV PATH=/pip/bin:$PATH \
    PIP_PYTHON=/opt/openrouter-sse-backend/bin/python
# with what a store needs that several processes share (docs/several-processes.md)
COPY requirements-redis.txt ./
RUN pip install --no-cache-dir --no-deps --require-hashes -r requirements-redis.txt
# what formats answers in the page: npm's, by a Node that stays behind here
COPY web web
COPY scripts/build-web scripts/build-web
RUN bash scripts/build-web
COPY packaging/build_hook.py packaging/build_hook.py
COPY sdk/javascript/client.js sdk/javascript/client.js
COPY pyproject.toml LICENSE openrouter_sse_backend.py ./
COPY client client
COPY mcp_app mcp_app
COPY server server
RUN pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.13-slim
RUN useradd --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin openrouter \
    && install -d -o openrouter -g openrouter -m 0700 /var/lib/openrouter-sse-backend
COPY --from=build /opt/openrouter-sse-backend /opt/openrouter-sse-backend
# SHUTDOWN_TIMEOUT: `docker stop` kills after 10 s, and readers may take 2 s for the last events
ENV PATH=/opt/openrouter-sse-backend/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    CONFIGURATION_DIRECTORY=/etc/openrouter-sse-backend \
    STATE_DIRECTORY=/var/lib/openrouter-sse-backend \
    SHUTDOWN_TIMEOUT=7
WORKDIR /var/lib/openrouter-sse-backend
USER 10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=15s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ.get(\"PORT\") or 8000}/health', timeout=4)"]
ENTRYPOINT ["openrouter-server"]
