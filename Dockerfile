# The twin as a service. The workspace and the models are mounted, never copied in: see compose.yaml.
FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY llm_twin llm_twin
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir -c constraints.txt ".[redis]"

FROM python:3.11-slim
RUN useradd --create-home --uid 1000 twin
COPY --from=build /venv /venv
USER twin
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1
EXPOSE 8010 8011
ENTRYPOINT ["twin"]
CMD ["serve", "--host", "0.0.0.0"]
