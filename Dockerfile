# A server of memories:
#   docker build -t tmem .
#   docker run --rm -v memories:/memories tmem keys make phone --user ana     # prints the key, once
#   docker run -p 8765:8765 -v memories:/memories tmem
# Its port is open to whoever reaches this computer: put a proxy with TLS in front of it.
FROM python:3.11-slim

# The CPU build of torch is a tenth of the size.
RUN pip install --no-cache-dir torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu
WORKDIR /tmem
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY src src
RUN pip install --no-cache-dir --constraint requirements.lock ".[server,json,otel]"

# Not root: what it writes is the home of memories and nothing else.
RUN useradd --create-home tmem && mkdir /memories && chown tmem /memories
USER tmem
ENV TMEM_HOME=/memories TMEM_HOST=0.0.0.0 TMEM_MODEL=persona-nano HF_HUB_OFFLINE=1
VOLUME /memories
EXPOSE 8765
HEALTHCHECK --start-period=60s CMD python -c "import urllib.request as u; u.urlopen('http://127.0.0.1:8765/readyz')"
ENTRYPOINT ["tmem"]
CMD ["serve"]
