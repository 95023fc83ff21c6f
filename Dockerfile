# The example application, served by gunicorn as a user without rights. It refuses to start without SECRET_KEY.
FROM python:3.13-slim

ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore

WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY flask_otpauth flask_otpauth
# Lower bounds only, as in pyproject.toml: a build takes what is current.
# hadolint ignore=DL3013
RUN python -m pip install ".[pages,docs-ui,postgres,mysql,redis]" "gunicorn>=25.1"

# A demonstration where there is no mail server; here, so that gunicorn and the flask command agree on it.
ENV OTPAUTH_DEMO=auto

# The app can write nothing but its instance folder, where SQLite lives when DATABASE_URL names no other database.
WORKDIR /app
COPY example_app example_app
RUN useradd --system --no-create-home --uid 10001 bank \
    && mkdir instance \
    && chown 10001 instance
VOLUME /app/instance
USER 10001

EXPOSE 5000
HEALTHCHECK --interval=30s --timeout=5s CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:5000/auth/health', timeout=4)"]
CMD ["gunicorn", "--config", "python:example_app.serving", "--bind", "0.0.0.0:5000", "example_app:create_app()"]
