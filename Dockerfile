# Two stages: the final image has no compiler, no pip and no embedded database.
FROM python:3.13-slim AS build
WORKDIR /srv
COPY requirements-production.lock .
RUN pip install --no-cache-dir --require-hashes --target packages -r requirements-production.lock
COPY app app
COPY migrations migrations
COPY LICENSE .
RUN python -m compileall -q packages app

FROM python:3.13-slim
RUN rm -rf /usr/local/lib/python3.13/site-packages/pip* /usr/local/bin/pip* \
 && useradd --system --no-create-home --uid 10001 tessera
WORKDIR /srv
COPY --from=build /srv /srv
ENV PYTHONPATH=/srv:/srv/packages PYTHONUNBUFFERED=1 HOST=0.0.0.0 PORT=8000 LOG_FORMAT=json WORKER=off
USER tessera
EXPOSE 8000
# With SMTP_URL, nothing is written to the root file system: run with --read-only, and with a tmpfs at /tmp if
# WEB_WORKERS > 1. Without SMTP_URL, mails are files in DATA_DIR, which must be a volume writable by the user.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/health/live', timeout=2)"]
ENTRYPOINT ["python", "-m", "app.cli"]
CMD ["serve"]
