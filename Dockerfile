# Never built so far, only linted and compared with the rest of the project: see docs/containers.md.
FROM python:3.13-slim AS build
WORKDIR /source
RUN python -m venv /opt/openrouter-sse-backend
ENV PATH=/opt/openrouter-sse-backend/bin:$PATH
COPY requirements.txt ./
RUN pip install --no-cache-dir --no-deps --require-hashes -r requirements.txt
COPY pyproject.toml README.md LICENSE openrouter_sse_backend.py ./
COPY client client
COPY mcp_app mcp_app
COPY server server
RUN pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.13-slim
RUN useradd --system --uid 10001 --home-dir /nonexistent --shell /usr/sbin/nologin openrouter \
    && install -d -o openrouter -g openrouter -m 0700 /var/lib/openrouter-sse-backend
COPY --from=build /opt/openrouter-sse-backend /opt/openrouter-sse-backend
ENV PATH=/opt/openrouter-sse-backend/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    CONFIGURATION_DIRECTORY=/etc/openrouter-sse-backend \
    STATE_DIRECTORY=/var/lib/openrouter-sse-backend
WORKDIR /var/lib/openrouter-sse-backend
USER 10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=15s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ.get(\"PORT\") or 8000}/health', timeout=4)"]
ENTRYPOINT ["openrouter-server"]
