"""What the OpenAI client makes of a server: `openai_conformance.py http://HOST:PORT/v1 MODEL`."""

from __future__ import annotations

import json
import sys

from openai import NotFoundError, OpenAI

url, model = sys.argv[1:3]
client = OpenAI(base_url=url, api_key="unused", max_retries=0)
texts = ["red green", "blue"]
packed = client.embeddings.create(model=model, input=texts)
plain = client.embeddings.create(model=model, input=texts, encoding_format="float")
single = client.embeddings.create(model=model, input="blue", encoding_format="float")
try:
    client.embeddings.create(model="none", input="blue")
    missing = "answered"
except NotFoundError as error:
    missing = str(error.status_code)
print(
    json.dumps(
        {
            "models": [one.id for one in client.models.list()],
            "same": max(
                abs(a - b)
                for one, two in zip(packed.data, plain.data, strict=True)
                for a, b in zip(one.embedding, two.embedding, strict=True)
            ),
            "single": single.data[0].embedding,
            "second": plain.data[1].embedding,
            "tokens": plain.usage.total_tokens,
            "missing": missing,
        }
    )
)
